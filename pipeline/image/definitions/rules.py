"""Read what a definition says of a property's values, and hold a value against it.

Values are text, as images have them; a definition says what the text is read as. Arrays, objects and definitions
without a type are not judged: nothing says how they are written as text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.image.definitions.patterns import Pattern, PatternRefused, compiled

_INTEGER = re.compile(r"-?[0-9]{1,300}")
_NUMBER = re.compile(r"-?[0-9]{1,300}(\.[0-9]{1,300})?([eE][+-]?[0-9]{1,3})?")
_TRUTHS = {"true": True, "false": False}
_SHOWN_VALUES = 60
_SHOWN_LENGTH = 80
_WHAT = {"integer": "a whole number", "number": "a number"}


def shortened(value: str) -> str:
    """Return ``value`` quoted for a message, cut where it is long."""
    return repr(value) if len(value) <= _SHOWN_LENGTH else f"{value[:_SHOWN_LENGTH]!r}…"


@dataclass(frozen=True)
class ValueRule:
    """What one definition says of a property's values. ``type`` is JSON schema's word."""

    type: str
    values: tuple[Any, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    shortest: int | None = None
    longest: int | None = None
    pattern: str | None = None
    compiled: Pattern | None = None
    operators: tuple[str, ...] = ()

    def accepts(self, value: str) -> bool:
        """Return whether ``value`` is right by this definition."""
        if self.operators and value.startswith(self.operators):
            return True  # "<or> a <or> b" is a comparison, for others to read
        if self.type == "string":
            return self._accepts_text(value)
        if self.type == "boolean":
            return value in _TRUTHS and (self.values is None or self._is_listed(_TRUTHS[value], value))
        number = _read_number(value, self.type)
        return number is not None and self._accepts_number(number, value)

    @property
    def expected(self) -> str:
        """What would be right, in words."""
        if self.values is not None:
            shown = [str(value)[:_SHOWN_LENGTH] for value in self.values[:_SHOWN_VALUES]]
            more = len(self.values) - len(shown)
            return f"one of {', '.join(shown)}" + (f" and {more} more" if more else "")
        if self.type == "boolean":
            return "one of true, false"
        if self.type == "string":
            return self._expected_text()
        low = f" from {self.minimum}" if self.minimum is not None else ""
        high = f" to {self.maximum}" if self.maximum is not None else ""
        return f"{_WHAT[self.type]}{low}{high}"

    def _expected_text(self) -> str:
        limits = []
        if self.shortest:
            limits.append(f"of at least {self.shortest} characters")
        if self.longest is not None:
            limits.append(f"of at most {self.longest} characters")
        if self.pattern is not None:
            limits.append(f"that matches {self.pattern[:200]}")
        return " ".join(["text", *limits])

    def _accepts_text(self, value: str) -> bool:
        if self.values is not None and value not in self.values:
            return False
        if len(value) < (self.shortest or 0) or (self.longest is not None and len(value) > self.longest):
            return False
        return self.compiled is None or self.compiled.found_in(value)

    def _accepts_number(self, number: float, value: str) -> bool:
        if self.minimum is not None and number < self.minimum:
            return False
        if self.maximum is not None and number > self.maximum:
            return False
        return self.values is None or self._is_listed(number, value)

    def _is_listed(self, read: float, value: str) -> bool:
        return any(known == value if isinstance(known, str) else _is_same(known, read) for known in self.values or ())


def read_rule(document: Mapping[str, Any]) -> ValueRule | None:
    """Return what a definition (``document``, as the image API has it) says; ``None`` where nothing can be judged.

    A definition that is not formed as the API demands says nothing: it comes from another cloud.
    """
    kind = document.get("type")
    if kind not in ("string", "integer", "number", "boolean"):
        return None
    pattern = document.get("pattern") if kind == "string" else None
    usable: Pattern | None = None
    if isinstance(pattern, str):
        try:
            usable = compiled(pattern)
        except PatternRefused:
            pattern = None  # it stood there before patterns were looked at, or stands in another's cloud
    values = document.get("enum")
    return ValueRule(
        kind,
        tuple(values) if isinstance(values, list) and values else None,
        _number(document.get("minimum")),
        _number(document.get("maximum")),
        _count(document.get("minLength")),
        _count(document.get("maxLength")),
        pattern if usable else None,
        usable,
        _texts(document.get("operators")),
    )


def _is_same(known: Any, read: float) -> bool:
    """In Python, True is 1; in JSON it is not."""
    return bool(known == read) and isinstance(known, bool) == isinstance(read, bool)


def _read_number(value: str, kind: str) -> float | int | None:
    if _INTEGER.fullmatch(value):
        return int(value)
    if kind == "integer" or not _NUMBER.fullmatch(value):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _texts(value: Any) -> tuple[str, ...]:
    texts: Sequence[Any] = value if isinstance(value, list) else ()
    return tuple(text for text in texts if isinstance(text, str) and text)
