"""How often and how long publishing tries again when a cloud does not answer well."""

from __future__ import annotations

import math
import random
import threading
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

    A cloud may ask for a longer pause (``Retry-After``), of at most ``heed`` seconds. ``settle`` is how long, in
    seconds, work inside the cloud (a copy, a slow commit) may go without any progress; ``lease`` is that of locks on
    clouds.
    """

    attempts: int = 6
    first: float = 0.5
    longest: float = 30.0
    heed: float = 300.0
    settle: float = 900.0
    poll: float = 1.0
    lease: Lease = field(default_factory=Lease)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    def pause(self, attempt: int) -> float:
        """Seconds to wait before an attempt, counted from 1; none before the first.

        They vary by a quarter, so that runners that failed together don't return together.
        """
        if attempt == 1:
            return 0.0
        growing = self.first * 2.0 ** (attempt - 2)
        return min(self.longest, growing) * random.uniform(0.75, 1.25)  # noqa: S311  (spreads load, guards nothing)

    def until_settled(self) -> Iterator[Callable[[], None]]:
        """Poll until the caller breaks off; ends when ``settle`` seconds pass without a call of what is yielded."""
        last = self.clock()

        def progressed() -> None:
            nonlocal last
            last = self.clock()

        while self.clock() - last < self.settle:
            yield progressed
            self.sleep(self.poll)


class Pace:
    """How fast one cloud wants to be asked, by whichever thread: its last ``Retry-After`` holds for all requests."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._not_before = -math.inf
        self._one = threading.Lock()

    def asked_for(self, seconds: float) -> None:
        """The cloud asked to be left alone for ``seconds``. Nobody returns earlier, and not all at once."""
        granted = min(seconds, self._patience.heed) * random.uniform(1.0, 1.1)  # noqa: S311  (spreads load)
        with self._one:
            self._not_before = max(self._not_before, self._patience.clock() + granted)

    def tries(self) -> Iterator[int]:
        """Count the attempts from 1; before each, pause as long as patience or the cloud asks, whichever is longer."""
        for attempt in range(1, self._patience.attempts + 1):
            pause = max(self._patience.pause(attempt), self._not_before - self._patience.clock())
            if pause > 0:
                self._patience.sleep(pause)
            yield attempt
