"""Decide how often and how long publishing tries again when a cloud does not answer well."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pipeline.base.retry import RetryPolicy


@dataclass(frozen=True)
class LockLease:
    """The holder shows every ``beat`` seconds that it lives; one that shows nothing for ``lasts`` seconds is dead.

    Whoever waits for it looks every ``poll`` seconds.
    """

    beat: float = 15.0
    lasts: float = 90.0
    poll: float = 2.0

    @property
    def doubtful(self) -> float:
        """Seconds without a beat after which a holder makes sure, before it does anything, that it still holds."""
        return self.lasts / 2


@dataclass(frozen=True)
class CloudRetryPolicy(RetryPolicy):
    """How often a cloud is asked, and how long it may take over its own work.

    ``settle`` is how long, in seconds, work inside the cloud (a copy, a slow commit) may go without any progress; it is
    looked at every ``poll`` seconds. ``lease`` is that of locks on clouds.
    """

    attempts: int = 6
    settle: float = 900.0
    poll: float = 1.0
    lease: LockLease = field(default_factory=LockLease)

    def until_settled(self) -> Iterator[Callable[[], None]]:
        """Poll until the caller breaks off; ends when ``settle`` seconds pass without a call of what is yielded."""
        last = self.clock()

        def progressed() -> None:
            nonlocal last
            last = self.clock()

        while self.clock() - last < self.settle:
            yield progressed
            self.sleep(self.poll)


class RateLimit:
    """How fast one cloud wants to be asked, by whichever thread: its last ``Retry-After`` holds for all requests."""

    def __init__(self, retry_policy: CloudRetryPolicy) -> None:
        self._retry_policy = retry_policy
        self._not_before = -math.inf
        self._one = threading.Lock()

    def asked_for(self, seconds: float) -> None:
        """Note that the cloud asked to be left alone for ``seconds``. Nobody returns earlier, and not all at once."""
        granted = self._retry_policy.granted(seconds)
        with self._one:
            self._not_before = max(self._not_before, self._retry_policy.clock() + granted)

    def tries(self) -> Iterator[int]:
        """Count the attempts from 1; before each, pause as the policy or the cloud asks, whichever is longer."""
        for attempt in range(1, self._retry_policy.attempts + 1):
            pause = max(self._retry_policy.pause(attempt), self._not_before - self._retry_policy.clock())
            if pause > 0:
                self._retry_policy.sleep(pause)
            yield attempt
