"""Read JSON that somebody else wrote."""

from __future__ import annotations

import json
import math
from typing import Any


def loads(text: str | bytes | bytearray) -> Any:
    """Return what ``text`` says. Raises ``ValueError`` for all that is no JSON (RFC 8259), and for too deep a nesting.

    Python's parser takes ``NaN`` and ``Infinity``, makes an infinity of ``1e999``, which nothing can write down again,
    and gives up on nesting with an error of another kind.
    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is larger than any number here")
    return number
