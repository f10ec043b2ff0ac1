"""Compile patterns that strangers wrote, so that no pattern and no value takes more than linear time (RE2)."""

from __future__ import annotations

import functools
from typing import Protocol

import re2

LONGEST = 4096
_MEMORY = 1 << 20  # of one compiled pattern: what repeats itself a thousand times over is refused


class PatternRefused(ValueError):
    """A pattern that cannot be used, and why."""


class Pattern(Protocol):
    """A compiled pattern."""

    def found_in(self, text: str) -> bool:
        """Return whether the pattern matches anywhere in ``text``, as JSON schema has it."""


class _Compiled:
    def __init__(self, compiled: re2._Regexp) -> None:
        self._compiled = compiled

    def found_in(self, text: str) -> bool:
        try:
            return self._compiled.search(text) is not None
        except UnicodeEncodeError:  # half a surrogate pair: no text that anything could match
            return False


@functools.lru_cache(maxsize=1024)
def compiled(pattern: str) -> Pattern:
    """Compile ``pattern``. Raises ``PatternRefused`` for what RE2 does not take: back references, looking around, and
    what would be too large.
    """
    if len(pattern) > LONGEST:
        raise PatternRefused(f"it has {len(pattern)} characters, at most {LONGEST} are taken")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        return _Compiled(re2.compile(pattern, options))
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise PatternRefused(text or "it is no regular expression") from None
    except UnicodeEncodeError:
        raise PatternRefused("it is no text") from None
