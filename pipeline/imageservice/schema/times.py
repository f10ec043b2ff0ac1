"""Write and read times as the API does."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from pipeline.imageservice.errors import Invalid

_FORM = re.compile(
    r"(\d{4})-?(\d{2})-?(\d{2})(?:[T ](\d{2}):?(\d{2})(?::?(\d{2})([.,]\d{1,9})?)?)?\s*(Z|z|[+-]\d{2}(?::?\d{2})?)?"
)


def written(moment: int) -> str:
    """Write a time in microseconds as ``YYYY-MM-DDTHH:MM:SSZ``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment // 1_000_000))


def written_exactly(moment: int) -> str:
    """Write a time in microseconds as ``YYYY-MM-DDTHH:MM:SS.ffffff``, as one old call has it."""
    seconds, rest = divmod(moment, 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:06d}"


def read(text: str, name: str) -> tuple[int, int]:
    """Read an ISO 8601 time as the range of microseconds it names: a whole second unless it has a fraction.

    Raises ``Invalid``.
    """
    match = _FORM.fullmatch(text.strip())
    if not match:
        raise Invalid(f"{name}: {text[:64]!r} is not an ISO 8601 time")
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    digits = (fraction or "")[1:7].ljust(6, "0")
    try:
        moment = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC
        )
    except ValueError as error:
        raise Invalid(f"{name}: {text[:64]!r} is not a time: {error}") from None
    seconds = int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) - _offset(zone)
    start = seconds * 1_000_000 + int(digits)
    return start, start + (1 if fraction else 1_000_000)


def _offset(zone: str | None) -> int:
    if zone is None or zone in "Zz":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    seconds = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    return seconds if zone[0] == "+" else -seconds
