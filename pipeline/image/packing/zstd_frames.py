"""Follow the frames of a zstd file (RFC 8878) while it is read, to know whether it is whole."""

from __future__ import annotations

import io
from collections.abc import Generator

_MAGIC = b"\x28\xb5\x2f\xfd"
_RLE = 1
_RESERVED = 3


class ZstdFrames:
    """A file that passes its bytes on and counts frames and blocks on the way."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file
        self._walk = self._frames()
        self._needed = next(self._walk)
        self._seen = bytearray()
        self._skip = 0
        self._between = True

    def read(self, size: int = -1) -> bytes:
        """Read as a file does."""
        data = self._file.read(size) or b""
        self._look(data)
        return data

    def require_end(self) -> None:
        """Raise ``EOFError`` unless everything read so far ends with a frame."""
        if not self._between or self._seen or self._skip:
            raise EOFError("the data ends within a frame")

    def _look(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if self._skip:
                passed = min(self._skip, len(view))
                self._skip -= passed
                view = view[passed:]
                continue
            taken = self._needed - len(self._seen)
            self._seen += view[:taken]
            view = view[taken:]
            if len(self._seen) == self._needed:
                self._needed = self._walk.send(bytes(self._seen))
                self._seen.clear()

    def _frames(self) -> Generator[int, bytes, None]:
        """Asks for so many bytes, is sent them; sets ``_skip`` for those whose content does not matter."""
        while True:
            self._between = True
            magic = yield 4
            self._between = False
            if magic != _MAGIC:
                length = int.from_bytes((yield 4), "little")  # a frame to skip; the decoder refuses what is none
                self._skip = length
                continue
            descriptor = (yield 1)[0]
            single = descriptor >> 5 & 1
            sizes = (1 if single else 0, 2, 4, 8)
            header = (0 if single else 1) + (0, 1, 2, 4)[descriptor & 3] + sizes[descriptor >> 6]
            if header:
                yield header
            yield from self._blocks()
            if descriptor >> 2 & 1:
                yield 4

    def _blocks(self) -> Generator[int, bytes, None]:
        last = False
        while not last:
            block = int.from_bytes((yield 3), "little")
            last, kind, size = bool(block & 1), block >> 1 & 3, block >> 3
            if kind == _RESERVED:
                raise ValueError("a block of a reserved kind")
            self._skip = 1 if kind == _RLE else size
