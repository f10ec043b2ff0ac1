"""Put together parts of the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Document = dict[str, Any]
TEXT = {"type": "string"}


def call(
    summary: str,
    answers: Mapping[int, Document | None],
    *,
    parameters: Sequence[Document] = (),
    body: Document | None = None,
    fails: Sequence[int] = (),
    open_to_all: bool = False,
) -> Document:
    """Return one method of a path. ``answers``: each status's schema, if it has a body; ``fails``: further refusals."""
    failures = (400,) if open_to_all else (400, 401, 403, 404, *fails)
    responses: dict[str, Document] = {str(status): {"description": "refused"} for status in failures}
    for status, schema in answers.items():
        content = {"content": {"application/json": {"schema": schema}}} if schema else {}
        responses[str(status)] = {"description": "done", **content}
    call: Document = {"summary": summary, "responses": responses}
    if parameters:
        call["parameters"] = list(parameters)
    if body is not None:
        call["requestBody"] = {"required": True, "content": body}
    if open_to_all:
        call["security"] = []
    return call


def page(*sort_keys: str) -> list[Document]:
    """Return the parameters of a list that comes in pages."""
    return [
        query("limit", {"type": "integer", "minimum": 0}),
        query("marker"),
        query("sort_key", {"type": "string", "enum": list(sort_keys)}),
        query("sort_dir", {"type": "string", "enum": ["asc", "desc"]}),
    ]


def part(name: str) -> Document:
    """Return a part of the path."""
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def query(name: str, schema: Document | None = None) -> Document:
    """Return a parameter of the query, text unless ``schema`` says otherwise."""
    return {"name": name, "in": "query", "schema": schema or TEXT}


def header(name: str) -> Document:
    """Return a header of the request."""
    return {"name": name, "in": "header", "schema": TEXT}


def as_json(schema: Document) -> Document:
    """Return a body in JSON."""
    return {"application/json": {"schema": schema}}


def object_with(name: str, schema: Document) -> Document:
    """Return the schema of an object with one field."""
    return {"type": "object", "required": [name], "properties": {name: schema}}


def ref(name: str) -> Document:
    """Return one of the document's own schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def list_of(name: str, component: str) -> Document:
    """Return the schema of an object with one list."""
    return {"type": "object", "properties": {name: {"type": "array", "items": ref(component)}}}


def plain(schema: Document) -> Document:
    """Return a JSON schema in the words OpenAPI 3.0 has: ``nullable`` for null, and no keys of our own."""
    simple = {name: value for name, value in schema.items() if name not in ("name", "links", "is_base")}
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            simple[name] = plain(schema[name])
    if "properties" in schema:
        simple["properties"] = {name: plain(inner) for name, inner in schema["properties"].items()}
    if isinstance(schema.get("type"), list):
        simple["type"] = next(kind for kind in schema["type"] if kind != "null")
        simple["nullable"] = True
    return simple
