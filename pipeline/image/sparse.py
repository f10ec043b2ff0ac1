"""Read files with holes without reading the holes: a kernel fills memory with zeros for each page of them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

BLOCK = 1 << 20
_ZEROS = bytes(BLOCK)


def extents(descriptor: int, total: int) -> Iterator[tuple[int, int]]:
    """Yield where the first ``total`` bytes of a file hold data, as (start, end); see lseek(2), ``SEEK_DATA``."""
    at = 0
    while at < total:
        try:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        at = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, at


def read_blocks(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, up to 1 MiB at a time; for what lies in holes the same zeros again and again."""
    with path.open("rb", buffering=0) as file:
        found, at = os.fstat(file.fileno()), 0
        # A pipe has neither size nor holes.
        for start, end in extents(file.fileno(), found.st_size) if stat.S_ISREG(found.st_mode) else ():
            yield from _zeros(start - at)
            at = file.seek(start)
            while at < end and (block := file.read(min(BLOCK, end - at))):
                at += len(block)
                yield block
        if stat.S_ISREG(found.st_mode):
            yield from _zeros(found.st_size - at)
            file.seek(max(at, found.st_size))  # what was appended meanwhile follows
        while block := file.read(BLOCK):
            yield block


def _zeros(length: int) -> Iterator[bytes]:
    while length > 0:
        yield _ZEROS[:length]
        length -= BLOCK
