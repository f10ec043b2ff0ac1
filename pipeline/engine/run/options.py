"""Describe how a run is to be done, as opposed to what: nothing here changes a result."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.base.home import CHECKOUT, Home
from pipeline.engine.keys.freshness import LookupMode
from pipeline.engine.record.events import Monitor


@dataclass(frozen=True)
class BuildOptions:
    """``monitors`` show the run. ``keep`` sets a failed unit's disk aside. ``jobs`` bounds the units that run at once
    and ``guests`` the guests (``None``: as many as fit). ``accelerator`` skips the probe.

    ``fresh`` looks first at everything the recipes take from outside, and writes it to the lock files in ``locks``;
    ``locked`` takes it from there without a look; ``offline`` does, too, and keeps the steps off the network.
    """

    home: Home = field(default_factory=Home.default)
    monitors: tuple[Monitor, ...] = ()
    keep: bool = False
    jobs: int | None = None
    guests: int | None = None
    accelerator: str | None = None
    fresh: bool = False
    locked: bool = False
    offline: bool = False
    locks: Path = CHECKOUT / "recipes"

    @property
    def look(self) -> LookupMode:
        """How far to look outside before anything is built."""
        if self.offline:
            return LookupMode.OFFLINE
        return LookupMode.LOCKED if self.locked else LookupMode.FRESH if self.fresh else LookupMode.MISSING

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON data for the journal."""
        return {
            name: getattr(self, name)
            for name in ("keep", "jobs", "guests", "accelerator", "fresh", "locked", "offline")
        }
