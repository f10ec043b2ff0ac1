"""Decompress images while they are read, within limits: a small file may claim to be endless."""

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

from pipeline.image.packing.xz_stream import XzStream
from pipeline.image.packing.zstd_frames import ZstdFrames
from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.data.transfer import Source
from pipeline.imageservice.errors import LimitExceeded, UnsupportedContent
from pipeline.imageservice.importing.sources.zip_member import ArchiveNotTaken, ZipMember

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
    """Return how data that begins with ``head`` is compressed; ``None`` when it isn't."""
    return next((kind for magic, kind in _MAGICS.items() if head.startswith(magic)), None)


class DecompressedSource:
    """The content of a compressed source, as a source. ``compressed``: the length of what is read, in bytes.

    Raises ``LimitExceeded`` when the content is too large for its source, ``UnsupportedContent`` when it is damaged.
    """

    def __init__(self, source: Source, kind: str, compressed: int, max_ratio: int, cancel_token: CancelToken) -> None:
        self.size: int | None = None
        self._file = _READERS[kind](_SourceFile(source, cancel_token))
        self._limit = max(_FREE, compressed * max_ratio)
        self._delivered = 0
        self._finished = False

    @property
    def ended(self) -> bool:
        """See ``Source.ended``."""
        return self._finished

    def readinto(self, view: memoryview, cancel_token: CancelToken) -> int:
        """See ``Source.readinto``."""
        try:
            count = self._file.readinto(view) or 0
        except ArchiveNotTaken as sound:
            raise UnsupportedContent(str(sound)) from None
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError, struct.error) as error:
            raise UnsupportedContent("The compressed image is damaged or ends too early", detail=str(error)) from None
        self._delivered += count
        self._finished = not count
        if self._delivered > self._limit:
            raise LimitExceeded("The compressed image becomes too large for the size of its file")
        return count


class _SourceFile(io.RawIOBase):
    """A source as a file."""

    def __init__(self, source: Source, cancel_token: CancelToken) -> None:
        super().__init__()
        self._source, self._cancel_token = source, cancel_token

    def readable(self) -> bool:
        return True

    def readinto(self, view: Any) -> int:
        self._cancel_token.check()
        return self._source.readinto(memoryview(view).cast("B"), self._cancel_token)


class _Xz(XzStream):
    """xz, which says of what takes too much memory that it does."""

    def readinto(self, view: Any) -> int:
        try:
            return super().readinto(view)
        except lzma.LZMAError as error:
            raise _not_taken("xz", error) or error from None


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
        try:
            count = int(self._reader.readinto(view))
        except zstandard.ZstdError as error:
            raise _not_taken("zstd", error) or error from None
        if not count:
            self._frames.require_end()
        return count


# What the libraries say of sound files that ask for more than we give, and what is said instead.
_NOT_TAKEN = {
    "Memory usage limit": f"needs more than {_MEMORY >> 20} MiB of memory to unpack; pack it with a smaller dictionary "
    "(xz -9 needs 65 MiB)",
    "requires too much memory": f"needs a window of more than {_MEMORY >> 21} MiB to unpack; pack it with at most "
    "zstd --long=27",
    "Unsupported integrity check": "has a kind of checksum that is not known here; pack it with xz --check=crc64",
    "unsupported options": "has filters or options that are not known here; pack it with plain xz",
    "Dictionary mismatch": "is packed with a dictionary that is not in it; pack it without",
}


def _not_taken(kind: str, error: Exception) -> ArchiveNotTaken | None:
    """Return the reason why a sound file is not taken; ``None`` when it is damaged."""
    reason = next((text for beginning, text in _NOT_TAKEN.items() if beginning in str(error)), None)
    return ArchiveNotTaken(f"The {kind} file {reason}") if reason else None


_READERS: dict[str, Callable[[io.RawIOBase], Any]] = {
    "gzip": lambda file: gzip.GzipFile(fileobj=io.BufferedReader(file, 256 << 10)),
    "bzip2": lambda file: bz2.BZ2File(io.BufferedReader(file, 256 << 10)),
    "xz": _Xz,
    "zstd": _Zstd,
    "zip": ZipMember,
}
