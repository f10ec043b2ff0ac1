"""Describe metadata definitions as JSON schema, and check what clients and files say by it."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from typing import Any

from pipeline.image.definitions.patterns import PatternRefused, compiled
from pipeline.imageservice.errors import Forbidden, Invalid
from pipeline.imageservice.schema import schema_check

_LONGEST_NAME = 80
_DEEPEST = 24
_NAME = {"type": "string", "minLength": 1, "maxLength": _LONGEST_NAME}
_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_TEXTS = {"type": "array", "items": _TEXT, "uniqueItems": True}
_TYPE = {"type": "string", "enum": ["array", "boolean", "integer", "number", "object", "string", None]}
_LINKS = {"self": {"readOnly": True, "type": "string"}, "schema": {"readOnly": True, "type": "string"}}


def _times(what: str) -> dict[str, Any]:
    return {
        name: {"type": "string", "readOnly": True, "format": "date-time", "description": f"Date and time of {text}"}
        for name, text in (("created_at", f"{what} creation"), ("updated_at", f"the last {what} modification"))
    }


_PROPERTY: dict[str, Any] = {
    "name": {**_NAME, "description": "What the property is called."},
    "title": {**_TEXT, "description": "What people see instead of the name."},
    "description": _TEXT,
    "operators": {"type": "array", "items": _TEXT, "description": "How values may be compared."},
    "type": _TYPE,
    "required": _TEXTS,
    "minimum": {"type": "number"},
    "maximum": {"type": "number"},
    "minLength": _COUNT,
    "maxLength": _COUNT,
    "pattern": {"type": "string", "format": "regex"},
    "enum": {"type": "array"},
    "readonly": {"type": "boolean"},
    "default": {},
    "items": {
        "type": "object",
        "properties": {"type": _TYPE, "enum": {"type": "array"}},
        "additionalProperties": False,
    },
    "minItems": _COUNT,
    "maxItems": _COUNT,
    "uniqueItems": {"type": "boolean", "default": False},
    "additionalItems": {"type": "boolean"},
}


def _closed(name: str, properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _inner(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema where it stands inside another one: without its name."""
    return {key: value for key, value in schema.items() if key != "name"}


# A property within something larger: its name is the key there.
_NAMED_PROPERTY = _closed("property", _PROPERTY, "title", "type")
_PROPERTIES = {"type": "object", "additionalProperties": _inner(_NAMED_PROPERTY)}
PROPERTY = _closed("property", _PROPERTY | _times("property"), "title", "type", "name")
OBJECT = _closed(
    "object",
    {
        "name": _NAME,
        "description": _TEXT,
        "required": {**_TEXTS, "description": "Names of properties that have to be set together."},
        "properties": _PROPERTIES,
        **_LINKS,
        **_times("object"),
    },
    "name",
)
TAG = _closed("tag", {"name": _NAME, **_times("tag")}, "name")
_TAG_LIST = {"type": "array", "items": {**_inner(TAG)}}
TAGS = _closed("tags", {"tags": _TAG_LIST}, "tags")
ASSOCIATION = _closed(
    "resource_type_association",
    {
        "name": {**_NAME, "description": "A type of resource, as orchestration calls it: OS::Nova::Server."},
        "prefix": {
            "type": "string",
            "maxLength": 80,
            "description": "What the namespace's properties begin with on such resources, the separator included.",
        },
        "properties_target": {
            "type": "string",
            "maxLength": 80,
            "description": "Which of several kinds of properties of such resources is meant.",
        },
        **_times("resource type association"),
    },
    "name",
)
NAMESPACE = _closed(
    "namespace",
    {
        "namespace": {**_NAME, "description": "The unique namespace text."},
        "display_name": {"type": "string", "maxLength": 80, "description": "What people see instead of the namespace."},
        "description": {"type": "string", "maxLength": 500, "description": "What the namespace is about."},
        "visibility": {
            "type": "string",
            "enum": ["public", "private"],
            "description": "Scope of namespace accessibility.",
        },
        "protected": {"type": "boolean", "description": "If true, namespace will not be deletable."},
        "owner": {"type": "string", "maxLength": 255, "description": "Owner of the namespace."},
        "resource_type_associations": {"type": "array", "items": _inner(ASSOCIATION)},
        "properties": _PROPERTIES,
        "objects": {"type": "array", "items": _inner(OBJECT)},
        "tags": _TAG_LIST,
        **_LINKS,
        **_times("namespace"),
    },
    "namespace",
)
RESOURCE_TYPE = _closed("resource_type", {"name": _NAME, **_times("resource type")}, "name")


def check_document(body: Any, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return ``body``, if it is a document that ``schema`` describes and that can be kept.

    Raises ``Forbidden`` for what only the service writes, and ``Invalid``.
    """
    what = str(schema["name"])
    if not isinstance(body, dict):
        raise Invalid(f"Provided object does not match schema '{what}': it is not a JSON object")
    for name, field in schema["properties"].items():
        if name in body and field.get("readOnly"):
            raise Forbidden(f"Attribute '{name}' is read-only.")
    schema_check.check(body, schema, name="", what=what)
    _check_values(body)
    _check_names(body)
    return body


def check_name(name: str, what: str) -> str:
    """Return ``name``, if it can stand in a path and be told from others. Raises ``Invalid``."""
    if not name.strip():
        raise Invalid(f"{what}: a name may not be blank")
    if name in (".", ".."):
        raise Invalid(f"{what}: a name may not be {name!r}, which paths cannot hold")
    _refuse_controls(name, what)
    if len(name) > _LONGEST_NAME:
        raise Invalid(f"{what}: a name may have {_LONGEST_NAME} characters at the most")
    return name


def _refuse_controls(name: str, what: str) -> None:
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in name):
        raise Invalid(f"{what}: a name may not hold control characters")


def _check_names(body: Mapping[str, Any]) -> None:
    for key in ("namespace", "name"):
        if key in body:
            check_name(body[key], key)
    _refuse_controls(body.get("prefix", ""), "prefix")  # the beginning of names
    _check_pattern(body)
    for name, one in body.get("properties", {}).items():
        check_name(name, "properties")
        try:
            _check_names(one)
        except Invalid as error:
            raise Invalid(f"properties.{name}: {error.message}") from None
    for key in ("objects", "tags", "resource_type_associations"):
        for number, one in enumerate(body.get(key, ())):
            try:
                _check_names(one)
            except Invalid as error:
                raise Invalid(f"{key}[{number}].{error.message}") from None


def _check_pattern(body: Mapping[str, Any]) -> None:
    """Refuse a pattern that no value could be held against in linear time."""
    if "pattern" in body:
        try:
            compiled(body["pattern"])
        except PatternRefused as error:
            raise Invalid(f"pattern: {body['pattern'][:_LONGEST_NAME]!r} cannot be used: {error}") from None


def _check_values(value: Any, depth: int = 0) -> None:
    """Refuse what JSON cannot say back: numbers beyond all bounds, and nesting that nobody could follow."""
    if depth > _DEEPEST:
        raise Invalid(f"The document is nested more than {_DEEPEST} levels deep")
    if isinstance(value, float) and not math.isfinite(value):
        raise Invalid("A number in the document is too large")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        _check_values(one, depth + 1)
