"""Split a list of images into the parts that an index can deliver.

What a caller sees is never one condition with ORs in it but a union of parts that do not overlap, each of which an
index delivers in order: images of one visibility, one project's images of one visibility, images shared with a project.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from pipeline.imageservice.catalog.images import filter_index
from pipeline.imageservice.model.images import ImageVisibility, ListingState, MemberStatus
from pipeline.imageservice.model.queries import Query


@dataclass(frozen=True, slots=True)
class OfVisibility:
    """All images of one visibility."""

    visibility: ImageVisibility

    def scope(self, state: ListingState) -> str:
        """Return the scope of its filter terms."""
        return filter_index.by_visibility(state, self.visibility)


@dataclass(frozen=True, slots=True)
class OfOwner:
    """One project's images of one visibility."""

    owner: str
    visibility: ImageVisibility

    def scope(self, state: ListingState) -> str:
        """Return the scope of its filter terms."""
        return filter_index.by_owner(state, self.owner, self.visibility)


@dataclass(frozen=True, slots=True)
class OfMember:
    """Others' images that are shared with a project, which said ``status`` to them (``None``: anything)."""

    member: str
    status: MemberStatus | None
    owner: str | None

    def scope(self, state: ListingState) -> str:
        """Return the scope of its filter terms: wider than the branch, so membership is checked besides."""
        if self.owner is not None:
            return filter_index.by_owner(state, self.owner, ImageVisibility.SHARED)
        return filter_index.by_visibility(state, ImageVisibility.SHARED)


Branch: TypeAlias = OfVisibility | OfOwner | OfMember


def of_query(query: Query) -> list[Branch]:
    """Return the branches whose union is what ``query`` may show."""
    if query.public_only:
        parts = _for_anybody(query)
    elif query.is_admin:
        parts = _for_admin(query)
    else:
        parts = _for_project(query)
    if query.owner is None:
        return parts
    return [narrowed for part in parts if (narrowed := _narrow(part, query.owner)) is not None]


def _for_anybody(query: Query) -> list[Branch]:
    return [OfVisibility(ImageVisibility.PUBLIC)] if query.visibility in (None, "all", ImageVisibility.PUBLIC) else []


def _for_admin(query: Query) -> list[Branch]:
    if isinstance(query.visibility, ImageVisibility):
        return [OfVisibility(query.visibility)]
    parts: list[Branch] = [OfVisibility(ImageVisibility.PUBLIC), OfVisibility(ImageVisibility.SHARED)]
    parts.append(OfVisibility(ImageVisibility.PRIVATE))
    if query.visibility == "all":
        parts.append(OfVisibility(ImageVisibility.COMMUNITY))
    elif query.project is not None:
        parts.append(OfOwner(query.project, ImageVisibility.COMMUNITY))
    return parts


def _for_project(query: Query) -> list[Branch]:
    project, visibility = query.project, query.visibility
    if isinstance(visibility, ImageVisibility) and visibility.is_open:
        return [OfVisibility(visibility)]
    own: list[Branch] = []
    if project is not None:
        visibilities = (
            [visibility]
            if isinstance(visibility, ImageVisibility)
            else [ImageVisibility.PRIVATE, ImageVisibility.SHARED]
        )
        own = [OfOwner(project, one) for one in visibilities]
        if ImageVisibility.SHARED in visibilities:
            own.append(OfMember(project, query.member_status, None))
    if visibility is None:
        community: list[Branch] = [OfOwner(project, ImageVisibility.COMMUNITY)] if project is not None else []
        return [OfVisibility(ImageVisibility.PUBLIC), *own, *community]
    if visibility == "all":
        return [OfVisibility(ImageVisibility.PUBLIC), *own, OfVisibility(ImageVisibility.COMMUNITY)]
    return own


def _narrow(part: Branch, owner: str) -> Branch | None:
    if isinstance(part, OfVisibility):
        return OfOwner(owner, part.visibility)
    if isinstance(part, OfOwner):
        return part if part.owner == owner else None
    return OfMember(part.member, part.status, owner) if owner != part.member else None
