"""Check values against the few words of JSON Schema that the API's own schemas use.

One description serves for the published schema and for the check. Written for speed and for messages that name the
place; the tests compare it with a full implementation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.imageservice.errors import Invalid

_SHOWN = 80
_ANY_TEXT = {"type": "string"}


def check(value: Any, schema: Mapping[str, Any], *, name: str, what: str) -> None:
    """Raise ``Invalid`` naming the first thing wrong with ``value``; ``what`` is the kind of document checked."""
    if isinstance(value, str) and schema == _ANY_TEXT:
        return  # nearly all properties there are
    for mistake in mistakes(value, schema, name):
        raise Invalid(f"Provided object does not match schema '{what}': {mistake}")


def mistakes(value: Any, schema: Mapping[str, Any], location: str) -> Iterator[str]:
    """Yield what is wrong with ``value``, one text each."""
    types = schema.get("type")
    if types is not None:
        allowed = [types] if isinstance(types, str) else types
        if not any(_is(value, one) for one in allowed):
            yield f"{location}: {shown(value)} is not of type {' or '.join(allowed)}"
            return
    if "enum" in schema and not any(value == one and type(value) is type(one) for one in schema["enum"]):
        choices = ", ".join(str(one) for one in schema["enum"])
        yield f"{location}: {shown(value)} is not one of {choices}"
    if isinstance(value, str):
        yield from _text_mistakes(value, schema, location)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if "minimum" in schema and value < schema["minimum"]:
            yield f"{location}: {shown(value)} is less than the minimum of {schema['minimum']}"
        if "maximum" in schema and value > schema["maximum"]:
            yield f"{location}: {shown(value)} is greater than the maximum of {schema['maximum']}"
    elif isinstance(value, list):
        yield from _list_mistakes(value, schema, location)
    elif isinstance(value, dict):
        yield from _object_mistakes(value, schema, location)


def shown(value: Any) -> str:
    """Return ``value`` for a message: quoted, and not at any length."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _text_mistakes(value: str, schema: Mapping[str, Any], location: str) -> Iterator[str]:
    if len(value) > schema.get("maxLength", len(value)):
        yield f"{location}: {shown(value)} is longer than {schema['maxLength']} characters"
    if len(value) < schema.get("minLength", 0):
        yield f"{location}: {shown(value)} is shorter than {schema['minLength']} characters"
    # Python's $ also matches before a final newline, JSON Schema's does not.
    if "pattern" in schema and (not re.search(schema["pattern"], value) or value.endswith("\n")):
        yield f"{location}: {shown(value)} does not match {schema['pattern']}"


def _list_mistakes(value: list[Any], schema: Mapping[str, Any], location: str) -> Iterator[str]:
    if len(value) > schema.get("maxItems", len(value)):
        yield f"{location}: more than {schema['maxItems']} items"
    if len(value) < schema.get("minItems", 0):
        yield f"{location}: fewer than {schema['minItems']} items"
    items = schema.get("items")
    if isinstance(items, Mapping):
        for number, item in enumerate(value):
            yield from mistakes(item, items, f"{location}[{number}]")
    if schema.get("uniqueItems") and len({json.dumps(item, sort_keys=True) for item in value}) < len(value):
        yield f"{location}: has an item twice"


def _object_mistakes(value: dict[str, Any], schema: Mapping[str, Any], location: str) -> Iterator[str]:
    known = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{location}: {name} is missing" if location else f"{name} is missing"
    for name, item in value.items():
        inner = f"{location}.{name}" if location else name
        if name in known:
            yield from mistakes(item, known[name], inner)
        elif others is False:
            yield f"{inner}: there is no such property"
        elif isinstance(others, Mapping):
            yield from mistakes(item, others, inner)


def _is(value: Any, name: str) -> bool:
    if name == "null":
        return value is None
    if name == "boolean":
        return isinstance(value, bool)
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if name == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if name == "string":
        return isinstance(value, str)
    return isinstance(value, list if name == "array" else dict)
