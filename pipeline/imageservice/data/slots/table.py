"""Keep a table of slots that a node's processes share: a small file in memory, one record for each entry.

Whoever reads all of it or changes it holds its lock, which ends with its holder. A record belongs to the
process that made it; those of processes that died are nobody's, and are found by ``Owner``.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.base import locks

_RECORD = struct.Struct("<BBBxIQdd16s")  # state, slow, preempted, process and its start, since, rate, project
_HEAD = struct.Struct("<8sQ")  # what it is, and how many records may be in use
_MAGIC = b"slots 1\0"
FREE, WAITING, RUNNING = 0, 1, 2


@dataclass
class SlotRecord:
    """One entry. ``since``: the moment (monotonic clock) from which it waits or runs; ``project``: a digest."""

    state: int
    pid: int
    start: int
    since: float
    project: bytes
    slow: bool = False
    preempted: bool = False
    rate: float = float("inf")


class SlotTable:
    """The table in ``path``, of ``entries`` records; made on first use."""

    def __init__(self, path: Path, entries: int) -> None:
        self._path, self._entries = path, entries
        self._size = _HEAD.size + entries * _RECORD.size
        self._opening = threading.Lock()
        self._process = 0
        self._lock = threading.Lock()
        self._descriptor = -1
        self._memory: mmap.mmap | None = None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the table, against threads and processes, while the block runs."""
        self._open()
        with self._lock, locks.exclusive(self._descriptor):
            yield

    def all(self) -> dict[int, SlotRecord]:
        """Return the records in use, by their index. Call it with the table ``locked``, as what follows."""
        memory = self._open()
        end = _HEAD.size + self._used(memory) * _RECORD.size
        found = {}
        for index, (state, slow, preempted, pid, start, since, rate, project) in enumerate(
            _RECORD.iter_unpack(memory[_HEAD.size : end])
        ):
            if state != FREE:
                found[index] = SlotRecord(state, pid, start, since, project, bool(slow), bool(preempted), rate)
        return found

    def add(self, taken: dict[int, SlotRecord], record: SlotRecord) -> int | None:
        """Put a record where none is; its index, ``None`` when the table is full. ``taken``: what ``all`` returned."""
        index = next((each for each in range(self._entries) if each not in taken), None)
        if index is not None:
            self.put(index, record)
            taken[index] = record
        return index

    def put(self, index: int, record: SlotRecord) -> None:
        """Write a record."""
        memory = self._open()
        one = record
        _RECORD.pack_into(
            memory,
            _HEAD.size + index * _RECORD.size,
            one.state,
            one.slow,
            one.preempted,
            one.pid,
            one.start,
            one.since,
            one.rate,
            one.project,
        )
        if index >= self._used(memory):
            _HEAD.pack_into(memory, 0, _MAGIC, index + 1)

    def free(self, index: int) -> None:
        """Let an entry be anybody's."""
        memory = self._open()
        at = _HEAD.size + index * _RECORD.size
        memory[at : at + _RECORD.size] = bytes(_RECORD.size)
        used = self._used(memory)
        while used and memory[_HEAD.size + (used - 1) * _RECORD.size] == FREE:
            used -= 1
        _HEAD.pack_into(memory, 0, _MAGIC, used)

    def look(self, index: int) -> tuple[int, bool]:
        """Return a record's state and whether it is to end, without the lock: for the record's own process."""
        memory = self._open()
        at = _HEAD.size + index * _RECORD.size
        return memory[at], bool(memory[at + 2])

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._opening:
            if self._memory is not None and self._process == os.getpid():
                self._memory.close()
                os.close(self._descriptor)
            self._memory = None

    def _used(self, memory: mmap.mmap) -> int:
        return int(_HEAD.unpack_from(memory)[1])

    def _open(self) -> mmap.mmap:
        """Return the table's memory. A forked process opens the file anew: it would share its parent's lock."""
        if self._process != os.getpid() or self._memory is None:
            with self._opening:
                if self._process != os.getpid() or self._memory is None:
                    self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                    if os.fstat(self._descriptor).st_size < self._size:
                        os.ftruncate(self._descriptor, self._size)  # zeros: nothing is in use
                    self._lock = threading.Lock()
                    self._memory = mmap.mmap(self._descriptor, self._size)
                    self._process = os.getpid()
        return self._memory
