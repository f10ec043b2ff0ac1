"""Write the reference of all recipe keys as Markdown, from the models; ``docs/recipes.md`` carries it between two
marks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.recipes.docs.schema import spelled
from pipeline.recipes.model.recipe import Recipe
from pipeline.recipes.nightly import Nightly

BEGIN = "<!-- reference: made by ./inv schema, do not edit below -->"
END = "<!-- end of reference -->"


def refreshed(page: str) -> str:
    """Return ``page`` with its reference brought up to date. Raises ``PipelineError`` when the marks are missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise PipelineError(f"docs/recipes.md lacks the line {BEGIN if not begin else END}")
    return f"{before}{BEGIN}\n\n{reference()}\n{END}{after}"


def reference() -> str:
    """Return every key of a recipe and of ``nightly.yaml``, part by part."""
    parts = [*_parts("A recipe", Recipe.model_json_schema()), *_parts("nightly.yaml", Nightly.model_json_schema())]
    return "\n".join(parts)


def _parts(title: str, schema: dict[str, Any]) -> Iterator[str]:
    definitions = schema.get("$defs", {})
    yield _part(title, schema, definitions)
    for name in _in_order(schema, definitions):
        if definitions[name].get("type") == "object":
            yield _part(name, definitions[name], definitions)
        elif "enum" in definitions[name]:
            yield _choices(name, definitions[name])


def _in_order(schema: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    """Return the names of all definitions that ``schema`` refers to, in the order of first use, depth first."""
    found: list[str] = []

    def visit(value: Any) -> None:
        if isinstance(value, list):
            for child in value:
                visit(child)
        if not isinstance(value, dict):
            return
        if "$ref" in value and (name := value["$ref"].rpartition("/")[2]) not in found:
            found.append(name)
            visit(definitions[name])
        for child in value.values():
            visit(child)

    visit(schema.get("properties", {}))
    return found


def _part(title: str, schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    required = schema.get("required", ())
    lines = [
        f"### {title}",
        "",
        schema.get("description", ""),
        "",
        "| key | value | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in schema["properties"].items():
        meaning = field.get("description") or definitions[field["$ref"].rpartition("/")[2]]["description"]
        default = "required" if name in required else _default(field)
        lines.append(f"| `{name}` | {_kind(field)} | {default} | {_cell(meaning)} |")
    return "\n".join([*lines, ""])


def _choices(title: str, schema: dict[str, Any]) -> str:
    values = ", ".join(f"`{value}`" for value in schema["enum"])
    return f"### {title}\n\n{schema.get('description', '')}\n\nOne of {values}.\n"


def _kind(field: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in field:
        return f"`{field['const']}`"
    if "oneOf" in field or "anyOf" in field:
        return " or ".join(
            _kind(each) for each in field.get("oneOf", field.get("anyOf", ())) if each.get("type") != "null"
        )
    if field.get("type") == "array":
        return f"list of {_kind(field.get('items', {}))}"
    if field.get("type") == "object":
        return f"map to {_kind(field.get('additionalProperties', {}))}"
    pattern = field.get("pattern", "")
    named = "size" if "KiB" in pattern else "duration" if "s|m|h" in pattern else None
    return named or {"string": "text", "integer": "number", "boolean": "true, false"}.get(str(field.get("type")), "")


def _default(field: dict[str, Any]) -> str:
    value = spelled(field.get("default"), str(field.get("pattern")))
    if value in (None, "", [], {}) or isinstance(value, dict):
        return ""
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
