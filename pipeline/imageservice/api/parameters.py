"""Parse the query of a URL, with every repetition kept, and the parameters that all lists share."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

import falcon

from pipeline.imageservice.api.options import ApiOptions
from pipeline.imageservice.api.resource import check_text
from pipeline.imageservice.errors import Invalid


@dataclass(frozen=True, slots=True)
class Parameters:
    """Names and values in the order they were sent."""

    pairs: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        """Return every value of ``name``."""
        return [value for key, value in self.pairs if key == name]

    def one(self, name: str) -> str | None:
        """Return the value of ``name``: the last one, should it be repeated."""
        values = self.all(name)
        return values[-1] if values else None

    def without(self, *names: str) -> Parameters:
        """Return the others."""
        return Parameters(tuple(pair for pair in self.pairs if pair[0] not in names))

    def link(self, path: str, **more: str) -> str:
        """Return ``path`` with this query and ``more``."""
        query = urlencode([*self.pairs, *more.items()])
        return f"{path}?{query}" if query else path


def parameters_of(req: falcon.Request) -> Parameters:
    """Return the request's query. Raises ``Invalid`` when it is not UTF-8 or holds a NUL."""
    try:
        raw = req.query_string.encode("latin-1").decode()
        pairs = parse_qsl(raw, keep_blank_values=True, errors="strict", max_num_fields=1000)
    except UnicodeError:
        raise Invalid("The query is not valid UTF-8 once it is unquoted") from None
    except ValueError:
        raise Invalid("The query has more than 1000 parameters") from None
    for name, value in pairs:
        check_text(name, "The query")
        check_text(value, f"The parameter {name!r}")
    return Parameters(tuple(pairs))


def read_limit(parameters: Parameters, options: ApiOptions) -> int:
    """Return the page's size: as asked for, within what the service gives."""
    text = parameters.one("limit")
    if text is None:
        return min(options.default_limit, options.max_limit)
    limit = read_integer(text, "limit")
    if limit < 0:
        raise Invalid("limit param must be positive")
    return min(limit, options.max_limit)


def read_integer(text: str, name: str) -> int:
    """Return a whole number that a database can hold. Raises ``Invalid``."""
    digits = text.strip().removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise Invalid(f"{name}: {text[:64]!r} is not a whole number")
    return int(text)


def read_directions(values: Sequence[str]) -> list[bool]:
    """Sort directions, true for descending. Raises ``Invalid``."""
    wrong = [value for value in values if value not in ("asc", "desc")]
    if wrong:
        raise Invalid(f"Invalid sort direction: {wrong[0][:64]!r}; use asc or desc")
    return [value == "desc" for value in values]


def is_uuid(text: str) -> bool:
    """Return whether ``text`` is a UUID in its usual form."""
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
