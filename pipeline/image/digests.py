"""Compute several digests of one stream in one pass, each in a thread of its own.

``hashlib`` releases the interpreter's lock, so that the pass takes as long as the slowest hash, not as long as all of
them. Between reader and hashes stand short queues: memory is bounded by ``DEPTH`` blocks for each hash.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.base.progress import Progress, nothing
from pipeline.image.sparse import read_blocks

DEPTH = 4
# What every product of the pipeline carries: Glance's checksum, what people compare, Glance's multihash.
USUAL = ("md5", "sha256", "sha512")
SUPPORTED = frozenset({"md5", "sha1", "sha224", "sha256", "sha384", "sha512"})


@dataclass(frozen=True)
class Digests:
    """The length of a stream in bytes and its digests, algorithm → lower-case hex."""

    size: int
    values: Mapping[str, str]

    def __getitem__(self, algorithm: str) -> str:
        return self.values[algorithm]

    @property
    def md5(self) -> str:
        """Glance's ``checksum``."""
        return self.values["md5"]

    @property
    def sha256(self) -> str:
        """What attestations and people name an image by."""
        return self.values["sha256"]

    @property
    def sha512(self) -> str:
        """Glance's ``os_hash_value``."""
        return self.values["sha512"]


class Hasher:
    """Hashes the blocks it is given. Use as a context manager, or call ``finish`` or ``close``: threads run."""

    def __init__(self, algorithms: Iterable[str] = USUAL) -> None:
        names = sorted(set(algorithms))
        unknown = set(names) - SUPPORTED
        if unknown:
            raise ValueError(f"no such digests: {', '.join(sorted(unknown))}")
        self.size = 0
        self._lines = [_DigestThread(name) for name in names]
        self._closed = False

    def update(self, block: bytes) -> None:
        """Take the next block. The block must not be changed afterwards. Waits while a queue is full."""
        self.size += len(block)
        for line in self._lines:
            line.put(block)

    def finish(self) -> Digests:
        """Return all digests, once everything taken has been hashed."""
        self.close()
        return Digests(self.size, {line.name: line.hash.hexdigest() for line in self._lines})

    def close(self) -> None:
        """End the threads. Harmless when they have ended."""
        if not self._closed:
            self._closed = True
            for line in self._lines:
                line.put(None)
            for line in self._lines:
                line.thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _DigestThread:
    """One hash, its thread and the queue between it and the reader."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.hash = hashlib.new(name, usedforsecurity=False)
        self.blocks: queue.Queue[bytes | None] = queue.Queue(DEPTH)
        self.thread = threading.Thread(target=self._work, name=f"digest-{name}", daemon=True)
        self.thread.start()

    def put(self, block: bytes | None) -> None:
        self.blocks.put(block)

    def _work(self) -> None:
        while (block := self.blocks.get()) is not None:
            self.hash.update(block)


def digest_file(
    path: Path,
    algorithms: Iterable[str] = USUAL,
    *,
    taps: Iterable[Callable[[bytes], object]] = (),
    progress: Progress = nothing,
) -> Digests:
    """Read ``path`` once; return its digests. Each of ``taps`` is called with every block on the way through."""
    watchers = tuple(taps)
    total = path.stat().st_size
    with Hasher(algorithms) as hasher:
        for block in read_blocks(path):
            hasher.update(block)
            for watch in watchers:
                watch(block)
            progress.advance(hasher.size, total)
        return hasher.finish()
