"""Parse the framing of a chunked body (RFC 9112, section 7.1), line by line.

Strict: lines end with CRLF, sizes are plain hexadecimal, lengths are bounded. What a proxy in front might read in
another way is refused, so that no request can be smuggled behind a body.
"""

from __future__ import annotations

import re

from pipeline.imageservice.errors import Invalid

LONGEST_LINE = 8190
_MOST_TRAILERS = 64 << 10
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[^\r\n\0]*)?")


class Framing:
    """Fed the lines between the chunks' data. ``left``: bytes of data that come before the next line."""

    def __init__(self) -> None:
        self.left = 0
        self.finished = False
        self._expects_end = False
        self._trailers: int | None = None

    def took(self, count: int) -> None:
        """Note that ``count`` bytes of the chunk's data have been read."""
        self.left -= count
        self._expects_end = self.left == 0

    def line(self, line: bytes) -> None:
        """Take the next line, without its CRLF. Raises ``Invalid``."""
        if b"\r" in line or b"\n" in line:
            raise _malformed("a line break that is not CRLF")
        if self._trailers is not None:
            self._trailer(line)
        elif self._expects_end:
            if line:
                raise _malformed("a chunk longer than its size")
            self._expects_end = False
        else:
            match = _SIZE.fullmatch(line)
            if match is None:
                raise _malformed("a chunk's size that is not one")
            self.left = int(match[1], 16)
            self._trailers = None if self.left else 0

    def _trailer(self, line: bytes) -> None:
        self._trailers = (self._trailers or 0) + len(line)
        if self._trailers > _MOST_TRAILERS:
            raise _malformed("too many trailers")
        self.finished = not line


def _malformed(what: str) -> Invalid:
    return Invalid(f"The chunks of the body are malformed: {what}")
