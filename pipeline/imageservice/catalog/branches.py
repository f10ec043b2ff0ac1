"""The parts a list of images is made of.

What a caller sees is never one condition with ORs in it but a union of parts that do not overlap, each of which an
index delivers in order: images of one visibility, one project's images of one visibility, images shared with a project.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from pipeline.imageservice.catalog import terms
from pipeline.imageservice.catalog.model import MemberStatus, Shelf, Visibility
from pipeline.imageservice.catalog.query import Query


@dataclass(frozen=True, slots=True)
class OfVisibility:
    """All images of one visibility."""

    visibility: Visibility

    def scope(self, shelf: Shelf) -> str:
        """The scope of its filter terms."""
        return terms.by_visibility(shelf, self.visibility)


@dataclass(frozen=True, slots=True)
class OfOwner:
    """One project's images of one visibility."""

    owner: str
    visibility: Visibility

    def scope(self, shelf: Shelf) -> str:
        """The scope of its filter terms."""
        return terms.by_owner(shelf, self.owner, self.visibility)


@dataclass(frozen=True, slots=True)
class OfMember:
    """Others' images that are shared with a project, which said ``status`` to them (``None``: anything)."""

    member: str
    status: MemberStatus | None
    owner: str | None

    def scope(self, shelf: Shelf) -> str:
        """The scope of its filter terms: wider than the branch, so membership is checked besides."""
        if self.owner is not None:
            return terms.by_owner(shelf, self.owner, Visibility.SHARED)
        return terms.by_visibility(shelf, Visibility.SHARED)


Branch: TypeAlias = OfVisibility | OfOwner | OfMember


def of_query(query: Query) -> list[Branch]:
    """The branches whose union is what ``query`` may show."""
    parts = _for_admin(query) if query.is_admin else _for_project(query)
    if query.owner is None:
        return parts
    return [narrowed for part in parts if (narrowed := _narrow(part, query.owner)) is not None]


def _for_admin(query: Query) -> list[Branch]:
    if isinstance(query.visibility, Visibility):
        return [OfVisibility(query.visibility)]
    parts: list[Branch] = [OfVisibility(Visibility.PUBLIC), OfVisibility(Visibility.SHARED)]
    parts.append(OfVisibility(Visibility.PRIVATE))
    if query.visibility == "all":
        parts.append(OfVisibility(Visibility.COMMUNITY))
    elif query.project is not None:
        parts.append(OfOwner(query.project, Visibility.COMMUNITY))
    return parts


def _for_project(query: Query) -> list[Branch]:
    project, visibility = query.project, query.visibility
    if isinstance(visibility, Visibility) and visibility.is_open:
        return [OfVisibility(visibility)]
    own: list[Branch] = []
    if project is not None:
        wanted = [visibility] if isinstance(visibility, Visibility) else [Visibility.PRIVATE, Visibility.SHARED]
        own = [OfOwner(project, one) for one in wanted]
        if Visibility.SHARED in wanted:
            own.append(OfMember(project, query.member_status, None))
    if visibility is None:
        community: list[Branch] = [OfOwner(project, Visibility.COMMUNITY)] if project is not None else []
        return [OfVisibility(Visibility.PUBLIC), *own, *community]
    if visibility == "all":
        return [OfVisibility(Visibility.PUBLIC), *own, OfVisibility(Visibility.COMMUNITY)]
    return own


def _narrow(part: Branch, owner: str) -> Branch | None:
    if isinstance(part, OfVisibility):
        return OfOwner(owner, part.visibility)
    if isinstance(part, OfOwner):
        return part if part.owner == owner else None
    return OfMember(part.member, part.status, owner) if owner != part.member else None
