"""Look at bytes on their way: digests, format inspection."""

from __future__ import annotations

import hashlib

from pipeline.image.formats import FormatLimits, FormatTap, FormatVerdict

TAIL = 64 << 10  # more than any format's trailer


class DigestTap:
    """One hash of everything that goes by."""

    own_thread = True

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self._hash = hashlib.new(algorithm, usedforsecurity=False)
        # hashlib lets other threads run while it works on a block.
        self.update = self._hash.update

    def hexdigest(self) -> str:
        """Return the digest so far, lower-case hex."""
        return self._hash.hexdigest()


class InspectionTap:
    """The format of everything that goes by.

    Inspectors want bytes they can keep, so blocks are copied; but only as long as a header can still change what was
    detected, and then the stream's end.
    """

    own_thread = False

    def __init__(self, limits: FormatLimits | None = None) -> None:
        self._tap = FormatTap(limits)
        self._tail = b""
        self._unseen = 0  # bytes since the header was decided, those of the tail too

    def update(self, data: memoryview) -> None:
        """Look at the next bytes."""
        if not self._tap.decided:
            self._tap.feed(bytes(data))
            return
        self._unseen += len(data)
        self._tail = (self._tail + bytes(data[-TAIL:]))[-TAIL:]

    def verdict(self, declared: str | None, *, require_match: bool = True) -> FormatVerdict:
        """See ``FormatTap.finish``; call it once."""
        if self._unseen:
            self._tap.skip(self._unseen - len(self._tail))
            self._tap.feed(self._tail)
        return self._tap.finish(declared, require_match=require_match)
