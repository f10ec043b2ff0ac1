"""Take turns in writing to an SQLite database, among all processes of the node.

SQLite lets one write at a time and has the others sleep, longer and longer: a process that writes all the time is then
served again and again before another one wakes up. Here whoever waits keeps a place in a queue that those who have
written have to enter again, behind it. Within a process the turn goes from project to project, so that hundreds of one
project's uploads, which all begin with a write, do not stand before another's. SQLite's own lock is what keeps writers
apart all the same: a program that knows nothing of turns does no harm.
"""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from pipeline.base import locks
from pipeline.base.fair_lock import FairLock
from pipeline.imageservice.errors import Unavailable

_POLL = 0.001  # no lock of a file can be waited for with a limit
_SLOW_POLL = 0.02  # for what takes long: a migration, a process that was stopped
_SOON = 1.0

# The project for which this thread writes.
writing_for: ContextVar[str] = ContextVar("writing_for", default="")


class WriteTurns:
    """The turns of one process at the database ``file``; ``timeout``: seconds to wait for one at the most."""

    def __init__(self, file: Path, timeout: float) -> None:
        self._timeout = timeout
        self._threads = FairLock()
        self._queue, self._turn = (self._opened(file, name) for name in ("queue", "turn"))

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Write while the block runs. Raises ``Unavailable`` when the turn does not come in time."""
        begun = time.monotonic()
        if not self._threads.acquire(writing_for.get(), self._timeout):
            raise _late()
        try:
            self._take(self._queue, begun)
            try:
                self._take(self._turn, begun)
            finally:
                self._give_back(self._queue)
            try:
                yield
            finally:
                self._give_back(self._turn)
        finally:
            self._threads.release()

    def waiting(self) -> int:
        """Return how many threads of this process wait for the one that writes."""
        return self._threads.waiting()

    def _opened(self, file: Path, name: str) -> int | None:
        """Open a file beside the database; ``None`` where none can be made: then nobody takes turns.

        Only the database's owner opens it, since whoever does can hold up all writes.
        """
        try:
            descriptor = os.open(f"{file}-{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return None
        with contextlib.suppress(OSError):  # what root makes here is for the service's user all the same
            os.fchown(descriptor, file.stat().st_uid, file.stat().st_gid)
        weakref.finalize(self, os.close, descriptor)
        return descriptor

    def _take(self, descriptor: int | None, begun: float) -> None:
        while descriptor is not None and not locks.take(descriptor):
            waited = time.monotonic() - begun
            if waited >= self._timeout:
                raise _late()
            time.sleep(_POLL if waited < _SOON else _SLOW_POLL)

    def _give_back(self, descriptor: int | None) -> None:
        if descriptor is not None:
            locks.give_back(descriptor)


def _late() -> Unavailable:
    return Unavailable("The image catalog is busy with other changes; try again")
