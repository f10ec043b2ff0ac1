"""The kinds of values a recipe holds, each checked once, here.

A recipe is outside text: sizes and counts are bounded, text can carry no NUL or line break where none belongs, and
files are named relative to the recipe's folder and cannot lie outside it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, WithJsonSchema

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|TiB)")
_SIZE_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_DURATION = re.compile(r"(\d+)\s*(s|m|h)")
_DURATION_UNITS = {"s": 1, "m": 60, "h": 3600}
MAX_TEXT = 4096
MAX_CONTENT = 1 << 18


class Model(BaseModel):
    """A closed, frozen part of a recipe; the docstrings of its fields are their descriptions in the schema."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False, validate_default=True
    )


def parse_size(value: Any) -> int:
    """Bytes from text such as ``64MiB``. Raises ``ValueError`` saying what is valid."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("a size is a number and a unit: 512B, 64KiB, 64MiB, 10GiB or 1TiB")
    return int(float(match[1]) * _SIZE_UNITS[match[2]])


def parse_duration(value: Any) -> int:
    """Seconds from text such as ``90s``. Raises ``ValueError`` saying what is valid."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("a duration is a whole number and a unit: 90s, 5m or 2h")
    return int(match[1]) * _DURATION_UNITS[match[2]]


def _quoted(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        # YAML reads 6.10 as 6.1, 012 as 10 and yes as true: what was meant can't be known any more.
        raise ValueError("this must be text: put it in quotes, because YAML changes bare numbers, dates and yes/no")
    return value


def _one_line(value: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError("control characters and line breaks do not belong here")
    return value


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("a NUL character does not belong here")
    return value


def _guest_path(value: str) -> str:
    parts = value.split("/")
    if not value.startswith("/") or value == "/" or any(part in ("", ".", "..") for part in parts[1:]):
        raise ValueError("a path in the guest is absolute and plain: /etc/motd, without '..', '.' or '//'")
    return value


Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict()]
Bytes = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema(
        {"type": "string", "pattern": f"^{_SIZE.pattern}$", "description": "A size with its unit, such as 64MiB."}
    ),
]
Seconds = Annotated[
    int,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {"type": "string", "pattern": f"^{_DURATION.pattern}$", "description": "A duration with its unit, such as 90s."}
    ),
]
Text = Annotated[str, BeforeValidator(_quoted), Field(max_length=MAX_TEXT), AfterValidator(_one_line)]
Word = Annotated[Text, Field(min_length=1, max_length=255)]
Content = Annotated[str, BeforeValidator(_quoted), Field(max_length=MAX_CONTENT), AfterValidator(_no_nul)]
Name = Annotated[
    str,
    BeforeValidator(_quoted),
    Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$"),
]
GuestPath = Annotated[Text, Field(min_length=2), AfterValidator(_guest_path)]
FileMode = Annotated[str, BeforeValidator(_quoted), Field(pattern=r"^0?[0-7]{3,4}$")]
UserName = Annotated[str, BeforeValidator(_quoted), Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
PackageName = Annotated[str, BeforeValidator(_quoted), Field(pattern=r"^[A-Za-z0-9@][A-Za-z0-9@._:+*=~^-]{0,127}$")]
PropertyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_:.-]{1,255}$")]
Tag = Annotated[Text, Field(min_length=1, max_length=255)]
