"""Lock among the threads of a process so that the lock goes from one project to the next, whatever each has in line."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class FairLock:
    """A lock that is held by one thread at a time; whoever had it goes behind all other projects that wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy = False
        self._queues: dict[str, deque[threading.Event]] = {}  # by project, in the order of whose turn it is

    def acquire(
        self, project: str, seconds: float | None, *, admit: Callable[[int, int], None] = lambda own, altogether: None
    ) -> bool:
        """Have the lock; ``False`` when that takes longer than ``seconds`` (``None``: however long it takes).

        ``admit`` is asked before a thread waits, with how many of its project and how many altogether wait already; it
        may raise.
        """
        mine = threading.Event()
        with self._lock:
            if not self._busy:
                self._busy = True
                return True
            admit(len(self._queues.get(project, ())), self._waiting())
            self._queues.setdefault(project, deque()).append(mine)
        if mine.wait(seconds):
            return True
        with self._lock:
            if mine.is_set():
                return True
            self._queues[project].remove(mine)
            if not self._queues[project]:
                del self._queues[project]
        return False

    def release(self) -> None:
        """Let the next project have it."""
        with self._lock:
            if not self._queues:
                self._busy = False
                return
            project = next(iter(self._queues))
            queue = self._queues.pop(project)
            queue.popleft().set()
            if queue:
                self._queues[project] = queue  # behind all others

    def waiting(self) -> int:
        """Return how many threads wait."""
        with self._lock:
            return self._waiting()

    def _waiting(self) -> int:
        return sum(map(len, self._queues.values()))
