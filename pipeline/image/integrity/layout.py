"""Check where the parts of an image lie in its file: all within it, none upon another."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from pipeline.image.refusal import FormatRefused, RefusalReason

_BLOCK = 1 << 20


class DiskFile:
    """A file that is read anywhere. ``name``: the format that it is in, for what is said about it."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.name = name
        self.size = os.fstat(file.fileno()).st_size
        self._descriptor = file.fileno()

    def read(self, offset: int, length: int, what: str) -> bytes:
        """Return all of ``length`` bytes. Raises ``FormatRefused`` when the file ends before that."""
        self.require(offset + length, what)
        parts = []
        while length:
            part = os.pread(self._descriptor, length, offset)
            if not part:
                raise self.truncated(offset + length, what)
            parts.append(part)
            offset, length = offset + len(part), length - len(part)
        return b"".join(parts)

    def require(self, end: int, what: str) -> None:
        """Raise ``FormatRefused`` when the file ends before ``end``."""
        if end > self.size:
            raise self.truncated(end, what)

    def is_zero(self, offset: int, length: int) -> bool:
        """Return whether there is nothing but zeros there, or the file's end."""
        end = min(offset + length, self.size)
        while offset < end:
            part = os.pread(self._descriptor, min(_BLOCK, end - offset), offset)
            if not part or any(part):
                return not part
            offset += len(part)
        return True

    def require_unused(self, offset: int, length: int) -> None:
        """Raise ``FormatRefused`` when there is something in a block behind the disk's end."""
        if not self.is_zero(offset, length):
            raise self.damaged(f"there is more at byte {offset} than its disk has room for")

    def truncated(self, end: int, what: str) -> FormatRefused:
        """Return the refusal of a file that ends before ``end``, where ``what`` does."""
        return FormatRefused(
            RefusalReason.TRUNCATED,
            f"the file ends before the image does: its {what} reaches to byte {end}, the file to byte {self.size}",
            detected=self.name,
            hint="the file was cut off on its way: fetch or copy it again",
        )

    def damaged(self, why: str, hint: str = "fetch or make it again") -> FormatRefused:
        """Return the refusal of an image whose own statements do not fit together."""
        return FormatRefused(
            RefusalReason.DAMAGED, f"the {self.name} image is damaged: {why}", detected=self.name, hint=hint
        )


@dataclass
class Parts:
    """The parts of one image, collected to be compared with each other at the end. All in ``unit`` bytes.

    Memory: sixteen bytes a part.
    """

    image: DiskFile
    unit: int = 1
    _starts: array[int] = field(default_factory=lambda: array("Q"))
    _lengths: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, start: int, length: int, what: str) -> None:
        """Note a part. Raises ``FormatRefused`` when the file ends before it does."""
        self.image.require((start + length) * self.unit, what)
        self._starts.append(start)
        self._lengths.append(length)

    def require_apart(self) -> None:
        """Raise ``FormatRefused`` when one part lies upon another."""
        reached = 0
        for start, length in self._ordered():
            if start < reached:
                raise self.image.damaged(f"two of its parts lie at byte {start * self.unit}")
            reached = start + length

    def require_close(self, block: int) -> None:
        """Raise ``FormatRefused`` when behind every block of the disk lies as much again that belongs to nothing.

        That is how a wrong size of the blocks shows: they are then half of what they were, or less.
        """
        starts = [*(start for start, _ in self._ordered()), self.image.size // self.unit]
        behind = [
            following - start - block
            for (start, length), following in zip(self._ordered(), starts[1:], strict=True)
            if length == block
        ]
        if behind and min(behind) >= block:
            raise self.image.damaged(f"its blocks of {block * self.unit} bytes lie further apart than they are long")

    def _ordered(self) -> Iterator[tuple[int, int]]:
        order = sorted(range(len(self._starts)), key=self._starts.__getitem__)
        return ((self._starts[index], self._lengths[index]) for index in order)
