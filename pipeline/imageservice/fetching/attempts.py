"""Count the attempts at fetching one thing: how many failed and of what, and until when there may be more."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from pipeline.base.retry import RetryPolicy
from pipeline.imageservice.fetching.errors import FetchBroken, FetchRefused, FetchStalled, StartAnew


class Waiting(Protocol):
    """Somebody who waits for the work, and can end it."""

    def check(self) -> None:
        """Raise what ends the work, if anything does."""

    def wait(self, seconds: float) -> None:
        """Sleep, but not beyond what ends the work, which is raised."""


class Attempts:
    """Counts failures. Those in a row without a byte between them count, and all that made it begin anew.

    ``seconds`` for everything together; ``None`` for no limit. ``note`` is told each failure.
    ``patient``: a server that stalls is asked again, too.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        waiting: Waiting,
        *,
        seconds: float | None = None,
        note: Callable[[str], None] = lambda _: None,
        patient: bool = True,
    ) -> None:
        self._policy, self._waiting, self._seconds = policy, waiting, seconds
        self._note, self._patient = note, patient
        self._until = None if seconds is None else time.monotonic() + seconds
        self._failures = self._begun_anew = 0

    def check(self) -> None:
        """Raise what ends the work, or ``FetchRefused`` when it has taken too long."""
        self._waiting.check()
        if self._until is not None and time.monotonic() > self._until:
            raise FetchRefused(f"The source took longer than {self._seconds:.0f} seconds")

    def progressed(self) -> None:
        """Note that bytes came that stay: whatever failed before has passed."""
        self._failures = 0

    def failed(self, error: FetchBroken) -> None:
        """Count a failure and wait for the next attempt. Raises ``error`` when there is none."""
        most = self._policy.attempts
        if isinstance(error, StartAnew):
            self._begun_anew += 1
            if error.counted and self._begun_anew < most:
                self._note(f"begun anew: {error.message}")
                return
        self._failures += 1
        made = max(self._failures, self._begun_anew)
        pause = self._policy.pause(made + 1, error.retry_after)
        over = made >= most or (isinstance(error, FetchStalled) and not self._patient)
        if over or (self._until is not None and time.monotonic() + pause > self._until):
            self._note(f"attempt {made} of {most}: {error.message}")
            raise error
        self._note(f"attempt {made} of {most}: {error.message}; again after {pause:.1f} s")
        self._waiting.wait(pause)
