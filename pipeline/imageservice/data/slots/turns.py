"""Take turns in work that keeps the processor busy: one thread of a process at a time, and projects one after another.

A long request for metadata costs milliseconds of Python, in which every other thread of the process waits for the
interpreter. Several at once, of somebody who sends them without a pause, would leave nothing to small requests; one at
a time takes its share and no more. Who waits for a store or a client has no turn meanwhile.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from pipeline.base.fair_lock import FairLock
from pipeline.imageservice.data.slots.errors import NoSlot

LONG_BODY = 16 << 10  # bytes of a request for metadata from which on it is a long one


class Turns:
    """The turns of one process. ``waiting``: how many threads of one project may wait, and half as many as may at all;
    ``seconds``: for how long.
    """

    def __init__(self, waiting: int, seconds: float) -> None:
        self._most, self._seconds = waiting, seconds
        self._lock = FairLock()
        self._mine = threading.local()

    @contextlib.contextmanager
    def held(self, project: str | None) -> Iterator[None]:
        """Have the turn while the block runs, but where it is given up meanwhile.

        Raises ``NoSlot`` when too many wait, or for too long.
        """
        self._take(project or "", self._most)
        try:
            yield
        finally:
            self._give_up()

    @contextlib.contextmanager
    def given_up(self) -> Iterator[None]:
        """Let others have their turn while the block runs, if this thread has one; it has it again afterwards."""
        project: str | None = getattr(self._mine, "project", None)
        if project is None:
            yield
            return
        self._give_up()
        try:
            yield
        finally:
            self._take(project, None)

    def waiting(self) -> int:
        """Return how many threads wait for a turn."""
        return self._lock.waiting()

    def _take(self, project: str, most: int | None) -> None:
        def admit(own: int, altogether: int) -> None:
            if most is not None and own >= most:
                raise _none("too many of this project's wait already")
            if most is not None and altogether >= 2 * most:
                raise _none("too many wait already")

        if not self._lock.acquire(project, self._seconds if most is not None else None, admit=admit):
            raise _none(f"it did not become this one's turn within {self._seconds:g} seconds")
        self._mine.project = project

    def _give_up(self) -> None:
        self._mine.project = None
        self._lock.release()


def _none(why: str) -> NoSlot:
    return NoSlot(f"Long requests are answered one after another, and {why}; try again later", 30)
