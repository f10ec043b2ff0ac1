"""Decide with which projects an image is shared, and with which no longer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.plan.desired import DesiredImage


@dataclass(frozen=True)
class Sharing:
    """What brings an image's members in line: whom to add, for whom to accept it, whom to remove.

    ``before`` and ``desired`` are the members that publishing itself let in, and those it should have let in.
    """

    add: tuple[str, ...]
    accept: tuple[str, ...]
    remove: tuple[str, ...]
    before: frozenset[str]
    desired: frozenset[str]

    @property
    def changes(self) -> bool:
        """Whether the members change; who only has to accept the image is one already."""
        return bool(self.add) or self.before != self.desired

    @property
    def why(self) -> str:
        """What is done, for people."""
        pending = [name for name in self.accept if name not in self.add]
        parts = (("with", self.add), ("no longer with", self.remove), ("to be accepted by", pending))
        return ", ".join(f"{words} {', '.join(names)}" for words, names in parts if names) or "with whom it was"


def sharing(record: ImageRecord | None, desired: DesiredImage, known: Mapping[str, str]) -> Sharing | None:
    """Return what gives ``record`` (``None``: one that is yet to be made) the members that ``desired`` names.

    ``known`` are its members, each with its status. ``None`` when there is nothing to do. Members that somebody else
    added stay.
    """
    mark = record.properties.get(ownership_marker.MEMBERS, "") if record else ""
    before = frozenset(name for name in mark.split(",") if name)
    if desired.visibility != "shared" or not (desired.members or before):
        return None
    found = Sharing(
        add=tuple(sorted(desired.members - known.keys())),
        # Who refused an image has decided: it stays refused.
        accept=tuple(sorted(name for name in desired.members if known.get(name, "pending") == "pending")),
        remove=tuple(sorted((before - desired.members) & known.keys())),
        before=before,
        desired=desired.members,
    )
    return found if found.accept or found.remove or found.changes else None
