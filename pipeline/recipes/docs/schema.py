"""Write the JSON Schema of recipe files, for editors: completion, descriptions, mistakes underlined while typing.

It describes files, not finished recipes: ``extends``, ``variables`` and ``matrix`` are keys, every list has its
``+key``, nothing is required (a parent may have it), ``null`` removes, and a reference may stand for any value.
"""

from __future__ import annotations

import json
from typing import Any

from pipeline.image import vocabulary
from pipeline.recipes.model.fields import DURATION_UNITS, SIZE_UNITS
from pipeline.recipes.model.recipe import SAID_ELSEWHERE, Recipe
from pipeline.recipes.nightly import Nightly

_REFERENCE = {"type": "string", "pattern": r"\$\{[a-z][a-z0-9_]*\}"}
_DIRECTIVES: dict[str, Any] = {
    "extends": {
        "description": "The recipe, or the list of recipes, that this one is laid over: maps merge, everything else "
        "replaces, +key appends to a list, null removes.",
        "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
    },
    "variables": {
        "description": "Values to use as ${name} anywhere below; --set name=value overrides them. ${name} itself "
        "is the recipe's name; $${ is a literal ${.",
        "type": "object",
        "propertyNames": {"pattern": "^[a-z][a-z0-9_]{0,62}$"},
        "additionalProperties": {"type": ["string", "integer", "boolean", "null"]},
    },
    "matrix": {
        "description": "Variables with a list of values each: one recipe is made for every combination, and named "
        "after it.",
        "type": "object",
        "additionalProperties": {"type": "array", "items": {"type": ["string", "integer"]}, "minItems": 1},
    },
}


def recipe_schema() -> str:
    """Return the schema of a recipe file, as the text of ``recipes/schema.json``."""
    schema = Recipe.model_json_schema()
    for part in [schema, *schema["$defs"].values()]:
        if part.get("type") == "object":
            _loosen(part)
    schema["properties"] = {**_DIRECTIVES, **schema["properties"], "properties": _image_properties(schema)}
    return _text(schema, "An image recipe")


def nightly_schema() -> str:
    """Return the schema of ``nightly.yaml``, as the text of ``recipes/nightly.schema.json``."""
    return _text(Nightly.model_json_schema(), "A nightly run")


def _image_properties(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the image properties with the clouds' vocabulary, so that editors complete names and values."""
    known = {}
    for name, entry in vocabulary.entries().items():
        values: dict[str, Any] = {"enum": list(entry.values)} if entry.values else {"type": "string"}
        if ".N" not in name and name not in SAID_ELSEWHERE:
            known[name] = {"description": entry.what, "anyOf": [values, _REFERENCE, {"type": "null"}]}
    general = schema["properties"]["properties"]
    description = {key: general[key] for key in ("description",) if key in general}
    return {
        **description,
        "type": ["object", "null"],
        "properties": known,
        "propertyNames": {"not": {"enum": sorted(SAID_ELSEWHERE)}},
        "additionalProperties": {"type": ["string", "null"]},
    }


def _loosen(part: dict[str, Any]) -> None:
    part["required"] = [name for name in part.get("required", ()) if name == "method"]
    appended = {
        f"+{name}": {
            **_with_references(field),
            "description": f"Appended to the list below: {field.get('description', '')}",
        }
        for name, field in part.get("properties", {}).items()
        if field.get("type") == "array"
    }
    for field in appended.values():
        field.pop("minItems", None)
        field.pop("default", None)
    part["properties"] = {name: _field(field) for name, field in part.get("properties", {}).items()} | appended
    if isinstance(part.get("additionalProperties"), dict):
        part["additionalProperties"] = _field(part["additionalProperties"])


def _field(field: dict[str, Any]) -> dict[str, Any]:
    """``field``, or text with a reference to a variable, or nothing at all."""
    if "const" in field:
        return field
    outer: dict[str, Any] = {key: field[key] for key in ("description", "default") if key in field}
    inner = {key: value for key, value in field.items() if key not in ("description", "default", "title")}
    if "default" in outer:
        outer["default"] = spelled(outer["default"], str(inner.get("pattern")))
    return {**outer, "anyOf": [_with_references(inner), _REFERENCE, {"type": "null"}]}


def _with_references(field: dict[str, Any]) -> dict[str, Any]:
    """``field`` whose items, if they are text, may hold references."""
    items = field.get("items", {})
    return {**field, "items": {"anyOf": [items, _REFERENCE]}} if items.get("type") == "string" else field


def spelled(default: Any, pattern: str) -> Any:
    """Return a default as a recipe spells it: 64MiB, 5m."""
    if not isinstance(default, int) or isinstance(default, bool):
        return default
    if "KiB" in pattern:
        unit = next((name for name in ("TiB", "GiB", "MiB", "KiB") if default % SIZE_UNITS[name] == 0), "B")
        return f"{default // SIZE_UNITS[unit]}{unit}"
    if "s|m|h" in pattern:
        unit = next(name for name in ("h", "m", "s") if default % DURATION_UNITS[name] == 0)
        return f"{default // DURATION_UNITS[unit]}{unit}"
    return default


def _text(schema: dict[str, Any], title: str) -> str:
    head: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    _drop_titles(schema)
    return json.dumps(head | schema, indent=2, sort_keys=False, ensure_ascii=False) + "\n"


def _drop_titles(value: Any) -> None:
    """Pydantic's titles only repeat the names."""
    if isinstance(value, dict):
        if isinstance(value.get("title"), str):
            del value["title"]
        for child in value.values():
            _drop_titles(child)
    elif isinstance(value, list):
        for child in value:
            _drop_titles(child)
