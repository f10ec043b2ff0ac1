"""Define the kinds of values a recipe holds, each checked once, here.

A recipe is outside text: sizes and counts are bounded, text can carry no NUL or line break where none belongs, and
files are named relative to the recipe's folder and cannot lie outside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|TiB)")
SIZE_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_DURATION = re.compile(r"(\d+)\s*(s|m|h)")
DURATION_UNITS = {"s": 1, "m": 60, "h": 3600}
MAX_TEXT = 4096
MAX_CONTENT = 1 << 18


class Model(BaseModel):
    """A closed, frozen part of a recipe; the docstrings of its fields are their descriptions in the schema."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False, validate_default=True
    )


def parse_size(value: Any) -> int:
    """Return bytes from text such as ``64MiB``. Raises ``ValueError`` saying what is valid."""
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("a size is a number and a unit: 512B, 64KiB, 64MiB, 10GiB or 1TiB")
    return int(float(match[1]) * SIZE_UNITS[match[2]])


def parse_duration(value: Any) -> int:
    """Return seconds from text such as ``90s``. Raises ``ValueError`` saying what is valid."""
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("a duration is a whole number and a unit: 90s, 5m or 2h")
    return int(match[1]) * DURATION_UNITS[match[2]]


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


def _between(value: str) -> str:
    if not 1 <= len(value) <= 255:
        raise ValueError("this must have 1 to 255 characters")
    return value


def raise_at(problems: Mapping[str, str], values: Mapping[str, Any]) -> None:
    """Raise one validation error with a line for each of ``problems``, at the key it names. Nothing for none."""
    if not problems:
        return
    lines = [
        InitErrorDetails(
            type=PydanticCustomError("explained", "{text}", {"text": text if name in values else f"{name}: {text}"}),
            loc=(name,) if name in values else (),
            input=values.get(name),
        )
        for name, text in problems.items()
    ]
    raise ValidationError.from_exception_data("", lines)


def matching(pattern: str, what: str) -> tuple[Any, ...]:
    """Return what to put into ``Annotated`` for text that matches ``pattern`` as a whole; ``what`` says so in words."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(f"{value[:80]!r} is not {what}")
        return value

    return AfterValidator(check), WithJsonSchema({"type": "string", "pattern": f"^(?:{pattern})$"})


Flag: TypeAlias = Annotated[bool, Strict()]
Count: TypeAlias = Annotated[int, Strict()]
# A number in a recipe lacks its unit; a default is one, and its field says ``validate_default=False``.
Bytes = Annotated[
    int, BeforeValidator(parse_size), WithJsonSchema({"type": "string", "pattern": f"^(?:{_SIZE.pattern})$"})
]
Seconds = Annotated[
    int, BeforeValidator(parse_duration), WithJsonSchema({"type": "string", "pattern": f"^(?:{_DURATION.pattern})$"})
]
Text = Annotated[str, BeforeValidator(_quoted), Field(max_length=MAX_TEXT), AfterValidator(_one_line)]
Word = Annotated[Text, AfterValidator(_between)]
Content = Annotated[str, BeforeValidator(_quoted), Field(max_length=MAX_CONTENT), AfterValidator(_no_nul)]
_Plain = Annotated[str, BeforeValidator(_quoted)]
Name = Annotated[
    _Plain, *matching(r"[a-z0-9][a-z0-9._-]{0,62}", "a name: lower case letters, digits and ._- (up to 63)")
]
GuestPath = Annotated[Text, AfterValidator(_guest_path)]
FileMode = Annotated[_Plain, *matching(r"0?[0-7]{3,4}", "a file mode such as '0644'")]
UserName = Annotated[
    _Plain, *matching(r"[a-zA-Z_][a-zA-Z0-9_-]{0,31}", "an account's name: letters, digits, _ and - (up to 32)")
]
PackageName = Annotated[_Plain, *matching(r"[A-Za-z0-9@][A-Za-z0-9@._:+=*~^-]{0,127}", "a package's name")]
