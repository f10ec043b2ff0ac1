"""How a run is to be done, as opposed to what: nothing here changes a result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipeline.base.home import Home
from pipeline.engine.events import Monitor


@dataclass(frozen=True)
class BuildOptions:
    """``monitors`` show the run. ``keep`` sets a failed unit's disk aside. ``jobs`` bounds the units that run at once
    and ``guests`` the guests (``None``: as many as fit). ``accelerator`` skips the probe.
    """

    home: Home = field(default_factory=Home.default)
    monitors: tuple[Monitor, ...] = ()
    keep: bool = False
    jobs: int | None = None
    guests: int | None = None
    accelerator: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """As JSON data for the journal."""
        return {name: getattr(self, name) for name in ("keep", "jobs", "guests", "accelerator")}
