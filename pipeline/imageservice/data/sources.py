"""Bytes that the service has already: a store's object, a file on this node."""

from __future__ import annotations

from pipeline.imageservice.data.control import Control
from pipeline.imageservice.stores.store import Reader


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

    def readinto(self, view: memoryview, control: Control) -> int:
        """See ``Source.readinto``."""
        count = self._reader.readinto(view)
        self._left -= count
        return count
