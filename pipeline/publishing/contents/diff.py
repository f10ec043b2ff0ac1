"""Compare what is inside an image with the one published before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.publishing.contents.inventory import KINDS, Inventory


@dataclass(frozen=True)
class Changes:
    """One kind of thing. ``updated`` maps a name to what it was and what it is."""

    added: Mapping[str, str] = field(default_factory=dict)
    removed: Mapping[str, str] = field(default_factory=dict)
    updated: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.updated)

    @property
    def summary(self) -> str:
        """``3 added, 1 removed``, or ``nothing``."""
        counted = (("added", self.added), ("removed", self.removed), ("updated", self.updated))
        return ", ".join(f"{len(names)} {word}" for word, names in counted if names) or "nothing"


@dataclass(frozen=True)
class ContentsDiff:
    """Everything that changed, by kind. Kinds that either side never looked at are not in it."""

    kinds: Mapping[str, Changes] = field(default_factory=dict)

    @property
    def packages(self) -> Changes:
        """The packages."""
        return self.kinds.get("packages", Changes())

    def __bool__(self) -> bool:
        return any(self.kinds.values())


def compare(before: Inventory, after: Inventory) -> ContentsDiff:
    """Return what changed from ``before`` to ``after``."""
    return ContentsDiff(
        {
            kind: _changes(before.table(kind), after.table(kind))
            for kind in KINDS
            if kind in before.known and kind in after.known
        }
    )


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> Changes:
    return Changes(
        added={name: after[name] for name in sorted(after.keys() - before.keys())},
        removed={name: before[name] for name in sorted(before.keys() - after.keys())},
        updated={
            name: (before[name], after[name])
            for name in sorted(before.keys() & after.keys())
            if before[name] != after[name]
        },
    )
