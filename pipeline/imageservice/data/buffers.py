"""Bound the memory that bytes in flight may use: one budget for the whole process.

A transfer takes a block, fills it, hands it to hashes and stores, and the block comes back when the last of them is
done with it. When the budget is used up, transfers wait for each other in turn, so that memory is bounded however
many there are and however large the images. A transfer may wait for a block only while it holds none that nobody works
on; back ends that collect bytes before they send them ``reserve`` all of that before they begin. So nobody waits for
somebody who waits.
"""

from __future__ import annotations

import contextlib
import mmap
import threading
import time
from collections import deque
from collections.abc import Iterator

from pipeline.imageservice.errors import Unavailable

BLOCK = 1 << 20
DEFAULT_LIMIT = 256 << 20
_ZEROS = memoryview(bytes(BLOCK))
_IDLE_BLOCKS = 32  # kept for the next transfer; page faults cost more than filling a block


class Block:
    """A piece of memory of ``BLOCK`` bytes, of which the first ``length`` are in use.

    Whoever needs it beyond a call holds it, and releases it when done.
    """

    __slots__ = ("_buffers", "_holders", "length", "memory")

    def __init__(self, buffers: Buffers, memory: memoryview) -> None:
        self._buffers, self.memory = buffers, memory
        self._holders = 1
        self.length = 0

    @property
    def view(self) -> memoryview:
        """The bytes in use."""
        return self.memory[: self.length]

    def hold(self) -> None:
        """Keep the block for one more holder."""
        with self._buffers._lock:
            self._holders += 1

    def release(self) -> None:
        """Release one holder's hold: it is done."""
        with self._buffers._lock:
            self._holders -= 1
            if self._holders:
                return
        self._buffers._give_back(self.memory)


class Zeros:
    """A block of nothing but zeros, known to be such: it takes no memory of its own."""

    __slots__ = ("length",)

    def __init__(self, length: int) -> None:
        self.length = length

    @property
    def view(self) -> memoryview:
        """The bytes."""
        return _ZEROS[: self.length]

    def hold(self) -> None:
        """Do nothing: nothing is held."""

    def release(self) -> None:
        """Do nothing: nothing is released."""


class Buffers:
    """The budget of ``limit`` bytes."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        if limit < BLOCK:
            raise ValueError(f"a budget below one block ({BLOCK} bytes) lets nothing through")
        self.limit = limit
        self.used = 0
        self.peak = 0
        self._lock = threading.Lock()
        self._idle: list[memoryview] = []
        self._waiting: deque[_Waiter] = deque()

    def take(self, deadline: float | None = None) -> Block:
        """Take a block of the caller's own. Raises ``Unavailable`` when none comes free before ``deadline``
        (monotonic).
        """
        self._claim(BLOCK, deadline)
        with self._lock:
            memory = self._idle.pop() if self._idle else None
        return Block(self, memory or memoryview(mmap.mmap(-1, BLOCK)))

    @contextlib.contextmanager
    def reserve(self, size: int, deadline: float | None = None) -> Iterator[None]:
        """Count ``size`` bytes that the caller allocates itself, while the block runs. Raises as ``take``."""
        if size > self.limit:
            raise ValueError(f"{size} bytes can never be had from a budget of {self.limit}")
        self._claim(size, deadline)
        try:
            yield
        finally:
            self._free(size)

    def _claim(self, size: int, deadline: float | None) -> None:
        with self._lock:
            if not self._waiting and self.used + size <= self.limit:
                self._grant(size)
                return
            waiter = _Waiter(size)
            self._waiting.append(waiter)
        if waiter.granted.wait(None if deadline is None else max(0.0, deadline - time.monotonic())):
            return
        with self._lock:
            if not waiter.granted.is_set():
                self._waiting.remove(waiter)
                self._serve()
                raise Unavailable("The service is moving as many images as it can; try again later")

    def _free(self, size: int) -> None:
        with self._lock:
            self.used -= size
            self._serve()

    def _give_back(self, memory: memoryview) -> None:
        with self._lock:
            if len(self._idle) < _IDLE_BLOCKS:
                self._idle.append(memory)
        self._free(BLOCK)

    def _serve(self) -> None:
        """First come, first served: a large claim is not overtaken for ever by small ones."""
        while self._waiting and self.used + self._waiting[0].size <= self.limit:
            waiter = self._waiting.popleft()
            self._grant(waiter.size)
            waiter.granted.set()

    def _grant(self, size: int) -> None:
        self.used += size
        self.peak = max(self.peak, self.used)


class _Waiter:
    def __init__(self, size: int) -> None:
        self.size = size
        self.granted = threading.Event()
