"""Tell the time of a run, which tests may let begin on another day."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime


def _machine() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Clock:
    """A clock that showed ``start`` when the machine's clock showed ``set_at``, and goes as that one does.

    What is decided in a run is decided as of ``start``; what is done bears the moment it was done at.
    """

    start: datetime = field(default_factory=_machine)
    set_at: datetime = field(default_factory=_machine)

    def now(self) -> datetime:
        """Return this moment."""
        return self.start + (_machine() - self.set_at)
