"""Parse which bytes of an image a request asks for (RFC 9110, section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.imageservice.errors import Invalid, RangeNotSatisfiable

_ONE = re.compile(r"bytes=(?P<first>\d{0,19})-(?P<last>\d{0,19})", re.IGNORECASE)
_LEGACY = re.compile(r"bytes (?P<first>\d{1,19})-(?P<last>\d{1,19})/(?P<whole>\d{1,19}|\*)", re.IGNORECASE)


@dataclass(frozen=True)
class ByteRange:
    """``length`` bytes from ``offset``, of a whole of ``size``."""

    offset: int
    length: int
    size: int

    @property
    def content_range(self) -> str:
        """The header that says so."""
        return f"bytes {self.offset}-{self.offset + self.length - 1}/{self.size}"


def parse(requested: str | None, legacy: str | None, size: int) -> ByteRange | None:
    """Return the range a request asks for, ``None`` for everything.

    ``requested`` is the header ``Range`` (RFC 9110, section 14.2), ``legacy`` a ``Content-Range`` in the request, as
    old clients send it. Raises ``Invalid`` for several ranges, ``RangeNotSatisfiable`` for one that is malformed or has
    no byte of the image.
    """
    if requested is not None:
        return _requested(requested.strip(), size)
    if legacy is not None:
        return _legacy(legacy.strip(), size)
    return None


def _requested(text: str, size: int) -> ByteRange:
    if "," in text:
        raise Invalid("Only one range can be asked for at a time")
    match = _ONE.fullmatch(text)
    if match is None or not (match["first"] or match["last"]):
        raise _unsatisfiable(text, size)
    if not match["first"]:
        length = min(int(match["last"]), size)
        return _checked(text, size - length, size - 1, size)
    last = int(match["last"]) if match["last"] else size - 1
    return _checked(text, int(match["first"]), last, size)


def _legacy(text: str, size: int) -> ByteRange:
    match = _LEGACY.fullmatch(text)
    if match is None or int(match["last"]) >= size:
        raise _unsatisfiable(text, size)
    return _checked(text, int(match["first"]), int(match["last"]), size)


def _checked(text: str, first: int, last: int, size: int) -> ByteRange:
    if first >= size or last < first:
        raise _unsatisfiable(text, size)
    return ByteRange(first, min(last, size - 1) - first + 1, size)


def _unsatisfiable(text: str, size: int) -> RangeNotSatisfiable:
    return RangeNotSatisfiable(f"The range {text[:80]} is not one of an image of {size} bytes", size=size)
