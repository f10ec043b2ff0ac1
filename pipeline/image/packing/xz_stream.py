"""Read xz with a limit for the decoder's memory, which the standard library's file has not."""

from __future__ import annotations

import io
import lzma
from typing import Any

_MEMORY = 256 << 20


class XzStream(io.RawIOBase):
    """The content of an xz file, which may have several streams. Raises ``EOFError`` when it ends within one."""

    def __init__(self, file: io.RawIOBase) -> None:
        super().__init__()
        self._file = file
        self._decoder = self._new()

    def readinto(self, view: Any) -> int:
        """Read into ``view``; 0 at the end."""
        view = memoryview(view).cast("B")
        while True:
            data = b""
            if self._decoder.eof:
                data = self._decoder.unused_data.lstrip(b"\0") or (self._file.read(64 << 10) or b"").lstrip(b"\0")
                if not data:
                    return 0
                self._decoder = self._new()
            elif self._decoder.needs_input:
                data = self._file.read(64 << 10) or b""
                if not data:
                    raise EOFError("the data ends within a stream")
            made = self._decoder.decompress(data, len(view))
            if made:
                view[: len(made)] = made
                return len(made)

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)
