"""Write to back ends that take an object in pieces: parts of S3, segments of Swift.

Bytes are collected until a piece is full; full pieces are sent by threads of the writer's own, a few at once, while
the next one fills. The memory comes out of the process's budget: one piece before anything is written, the others only
when they are free at that moment, since whoever waits for memory must not hold any. With one piece alone, filling and
sending take turns.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

from pipeline.imageservice.errors import Unavailable
from pipeline.imageservice.stores.budget import Budget, reserve
from pipeline.imageservice.stores.errors import StoreFull

T = TypeVar("T")


class MultipartUpload(Generic[T]):
    """Collects bytes into pieces of ``size`` and has ``send`` take the full ones, up to ``at_once`` at a time.

    ``send`` gets the piece's number, counted from 1, and its bytes, and works in another thread; what it returns is
    kept. ``expected``: how many bytes will come, where known, so that a small object takes no more memory than itself.
    """

    def __init__(
        self, size: int, at_once: int, send: Callable[[int, bytearray], T], budget: Budget, expected: int | None = None
    ) -> None:
        self._send, self._budget, self._at_once = send, budget, at_once
        self.size = size
        if expected is not None:
            self.size = max(1, min(size, expected))
            self._at_once = max(1, min(at_once, -(-expected // self.size) - 1))
        self._grants = contextlib.ExitStack()
        self._grants.enter_context(reserve(budget, self.size))
        self._filling = bytearray(self.size)
        self._filled = 0
        self._spare: list[bytearray] = []
        self._pool: ThreadPoolExecutor | None = None
        self._sending: dict[Future[T], bytearray] = {}
        self._sent: dict[int, Future[T]] = {}
        self.total = 0

    @property
    def begun(self) -> bool:
        """Whether a piece has been sent already; else all there is can be had from ``whole``."""
        return bool(self._sent)

    def whole(self) -> bytearray:
        """Return everything, when no piece has been sent; nothing can be added afterwards."""
        self._shorten()
        return self._filling

    def add(self, data: memoryview) -> None:
        """Append ``data``. Raises what sending an earlier piece has raised."""
        while data:
            if self._filled == self.size:
                self._dispatch()
            count = min(len(data), self.size - self._filled)
            self._filling[self._filled : self._filled + count] = data[:count]
            self._filled += count
            self.total += count
            data = data[count:]

    def finish(self) -> list[T]:
        """Send the rest, wait for all, and return what ``send`` returned, in order. Raises as ``add``."""
        if self._filled:
            self._shorten()
            self._dispatch(last=True)
        wait(self._sending)
        return [self._sent[number].result() for number in sorted(self._sent)]

    def close(self) -> None:
        """Wait until nothing is being sent, and give back memory and threads. Harmless when called again."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        self._sending.clear()
        self._spare.clear()
        self._filling, self._filled = bytearray(), 0
        self._grants.close()

    def _shorten(self) -> None:
        """Make the last piece as long as what is in it."""
        if self._filled < len(self._filling):
            # By a copy: whoever sent this memory before may still hold a view of it, so it can't be cut.
            self._filling = self._filling[: self._filled]

    def _dispatch(self, *, last: bool = False) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._at_once, thread_name_prefix="piece")
            if not last:
                self._get_spares()
        number = len(self._sent) + 1
        future = self._pool.submit(self._send, number, self._filling)
        self._sent[number] = future
        self._sending[future] = self._filling
        self._filled = 0
        if not last:
            self._filling = self._spare.pop() if self._spare else self._sent_piece()

    def _sent_piece(self) -> bytearray:
        """Return the memory of a piece that has been sent."""
        done, _ = wait(self._sending, return_when=FIRST_COMPLETED)
        for future in done:
            self._spare.append(self._sending.pop(future))
            future.result()
        return self._spare.pop()

    def _get_spares(self) -> None:
        with contextlib.suppress(Unavailable, StoreFull):
            for _ in range(self._at_once):
                self._grants.enter_context(reserve(self._budget, self.size, timeout=0))
                self._spare.append(bytearray(self.size))
