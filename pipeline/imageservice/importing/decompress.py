"""Unpacking compressed images while they are read, within limits: a small file may claim to be endless."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import zlib
from collections.abc import Callable
from typing import IO, Any, cast

import zstandard

from pipeline.imageservice.data.control import Control
from pipeline.imageservice.data.transfer import Source
from pipeline.imageservice.errors import LimitExceeded, UnsupportedContent
from pipeline.imageservice.importing.zip_member import ZipMember
from pipeline.imageservice.importing.zstd_frames import ZstdFrames

_FREE = 1 << 30  # an image may become so large whatever its file's size
_MEMORY = 256 << 20  # of a decoder
_MAGICS = {
    b"\x1f\x8b\x08": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
HEAD = 6  # bytes that tell how data is compressed


def kind_of(head: bytes) -> str | None:
    """How data that begins with ``head`` is compressed; ``None`` when it isn't."""
    return next((kind for magic, kind in _MAGICS.items() if head.startswith(magic)), None)


class Unpacked:
    """The content of a compressed source, as a source. ``compressed``: the length of what is read, in bytes.

    Raises ``LimitExceeded`` when the content is too large for its source, ``UnsupportedContent`` when it is damaged.
    """

    def __init__(self, source: Source, kind: str, compressed: int, max_ratio: int, control: Control) -> None:
        self.size: int | None = None
        self._file = _READERS[kind](_SourceFile(source, control))
        self._limit = max(_FREE, compressed * max_ratio)
        self._delivered = 0
        self._finished = False

    @property
    def ended(self) -> bool:
        """See ``Source.ended``."""
        return self._finished

    def readinto(self, view: memoryview, control: Control) -> int:
        """See ``Source.readinto``."""
        try:
            count = self._file.readinto(view) or 0
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError, struct.error) as error:
            raise UnsupportedContent("The compressed image is damaged or ends too early", detail=str(error)) from None
        self._delivered += count
        self._finished = not count
        if self._delivered > self._limit:
            raise LimitExceeded("The compressed image becomes too large for the size of its file")
        return count


class _SourceFile(io.RawIOBase):
    """A source as a file."""

    def __init__(self, source: Source, control: Control) -> None:
        super().__init__()
        self._source, self._control = source, control

    def readable(self) -> bool:
        return True

    def readinto(self, view: Any) -> int:
        self._control.check()
        return self._source.readinto(memoryview(view).cast("B"), self._control)


class _Xz(io.RawIOBase):
    """xz with a limit for the decoder's memory, which the standard library's file has not."""

    def __init__(self, file: io.RawIOBase) -> None:
        super().__init__()
        self._file = file
        self._decoder = self._new()
        self._begun = False

    def readinto(self, view: Any) -> int:
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


class _Zstd(io.RawIOBase):
    """zstd, whose own reader takes the end of its input for the end of the data."""

    def __init__(self, file: io.RawIOBase) -> None:
        super().__init__()
        self._frames = ZstdFrames(file)
        decoder = zstandard.ZstdDecompressor(max_window_size=_MEMORY // 2)
        self._reader: Any = decoder.stream_reader(
            cast(IO[bytes], self._frames), read_size=64 << 10, read_across_frames=True
        )

    def readinto(self, view: Any) -> int:
        count = int(self._reader.readinto(view))
        if not count:
            self._frames.require_end()
        return count


_READERS: dict[str, Callable[[io.RawIOBase], Any]] = {
    "gzip": lambda file: gzip.GzipFile(fileobj=io.BufferedReader(file, 256 << 10)),
    "bzip2": lambda file: bz2.BZ2File(io.BufferedReader(file, 256 << 10)),
    "xz": _Xz,
    "zstd": _Zstd,
    "zip": ZipMember,
}
