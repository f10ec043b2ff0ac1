"""Read bytes from a store's object or a plain stream."""

from __future__ import annotations

from typing import BinaryIO, Protocol

from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.stores.base import Reader


class FromStore:
    """The bytes of a reader, which stays the caller's to close."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.size: int | None = reader.length
        self._left = reader.length

    @property
    def ended(self) -> bool:
        """Whether everything has been read."""
        return self._left == 0

    @property
    def file(self) -> BinaryIO | None:
        """See ``Reader.file``."""
        return self._reader.file

    def readinto(self, view: memoryview, cancel_token: CancelToken) -> int:
        """See ``Source.readinto``."""
        count = self._reader.readinto(view)
        self._left -= count
        return count

    def hole(self, limit: int) -> int:
        """See ``Sparse.hole``."""
        count = self._reader.hole(limit)
        self._left -= count
        return count


class Readable(Protocol):
    """Anything with a file's ``read``."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, none at the end."""


class FromStream:
    """The bytes of a file or stream; ``size`` of them, where that is known."""

    def __init__(self, stream: Readable, size: int | None) -> None:
        self._stream, self.size = stream, size
        self._read = 0
        self._finished = False

    @property
    def ended(self) -> bool:
        """Whether everything has been read."""
        return self._finished or (self.size is not None and self._read >= self.size)

    def readinto(self, view: memoryview, cancel_token: CancelToken) -> int:
        """See ``Source.readinto``."""
        size = len(view) if self.size is None else min(len(view), self.size - self._read)
        data = self._stream.read(size) if size else b""
        view[: len(data)] = data
        self._read += len(data)
        self._finished = not data
        return len(data)
