"""How often and how long publishing tries again when a cloud does not answer well."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Lease:
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
class Patience:
    """``attempts`` in all, with a pause that doubles from ``first`` to ``longest`` seconds between them.

    ``settle`` is how long, in seconds, work inside the cloud (a copy, a slow commit) may go without any progress;
    ``lease`` is that of locks on clouds.
    """

    attempts: int = 6
    first: float = 0.5
    longest: float = 30.0
    settle: float = 900.0
    poll: float = 1.0
    lease: Lease = field(default_factory=Lease)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    def tries(self) -> Iterator[int]:
        """Count the attempts from 1, pausing before each but the first.

        The pauses vary by a quarter, so that runners that failed together don't return together.
        """
        for attempt in range(1, self.attempts + 1):
            if attempt > 1:
                pause = min(self.longest, self.first * 2 ** (attempt - 2))
                self.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311  (spreads load, guards nothing)
            yield attempt

    def until_settled(self) -> Iterator[Callable[[], None]]:
        """Poll until the caller breaks off; ends when ``settle`` seconds pass without a call of what is yielded."""
        last = self.clock()

        def progressed() -> None:
            nonlocal last
            last = self.clock()

        while self.clock() - last < self.settle:
            yield progressed
            self.sleep(self.poll)
