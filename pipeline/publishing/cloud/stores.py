"""Choose which of a cloud's stores an image goes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.base.errors import PipelineError

ALL = "all"


@dataclass(frozen=True)
class CloudStore:
    """One store of a cloud. ``type`` is known to administrators only ("file", "rbd", …)."""

    id: str
    type: str | None = None
    is_default: bool = False
    is_read_only: bool = False

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> CloudStore:
        """Parse an entry of ``/v2/info/stores``, whose flags are the text "true" by contract, a boolean from some."""
        return cls(
            id=str(document.get("id", "")),
            type=str(document["type"]) if document.get("type") else None,
            is_default=str(document.get("default", "")).lower() == "true",
            is_read_only=str(document.get("read-only", "")).lower() == "true",
        )


def choose(stores: Sequence[CloudStore], desired: Sequence[str], cloud: str) -> tuple[str, ...]:
    """Return the ids of the stores that ``desired`` names, the first to get the upload; none means the cloud's default.

    ``all`` means every store that can be written, the default first. Raises ``PipelineError`` for unknown and
    read-only ones.
    """
    writable = [each.id for each in sorted(stores, key=lambda each: not each.is_default) if not each.is_read_only]
    if not desired:
        return ()
    if ALL in desired:
        return tuple(writable)
    unknown = [name for name in desired if name not in writable]
    if unknown:
        known = ", ".join(writable) or "only one, without a name"
        raise PipelineError(
            f"cloud {cloud} has no store {', '.join(unknown)} that can be written (it has: {known})",
            hint="correct stores in recipes/nightly.yaml or in the recipe's publish section, or say all",
        )
    return tuple(dict.fromkeys(desired))


def holding(stores: Sequence[CloudStore], chosen: Sequence[str]) -> list[CloudStore]:
    """Return the stores that will hold an image for which ``chosen`` were chosen: those, or the cloud's default."""
    return [each for each in stores if (each.id in chosen if chosen else each.is_default)]
