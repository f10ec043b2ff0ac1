"""Describe the paths of metadata definitions in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.imageservice.api.openapi.parts import (
    Document,
    as_json,
    call,
    header,
    list_of,
    page,
    part,
    plain,
    query,
    ref,
)
from pipeline.imageservice.model.metadefs import DEFINITION_SORT_KEYS, NAMESPACE_SORT_KEYS
from pipeline.imageservice.schema import metadef_schema

_BASE = "/v2/metadefs"
_ONE = f"{_BASE}/namespaces/{{namespace}}"
_NAMESPACE = part("namespace")
_NAMED = [_NAMESPACE, part("name")]
_TYPE = query("resource_type")
_VISIBILITY = query("visibility", {"type": "string", "enum": ["public", "private"]})
_TAKEN = (409, 413)


def metadef_components() -> Document:
    """Return the schemas of metadata definitions."""
    return {
        "Namespace": plain(metadef_schema.NAMESPACE),
        "NamespaceCreate": _writable(metadef_schema.NAMESPACE),
        "ResourceType": plain(metadef_schema.RESOURCE_TYPE),
        "Association": plain(metadef_schema.ASSOCIATION),
        "AssociationCreate": _writable(metadef_schema.ASSOCIATION),
        "MetadefObject": plain(metadef_schema.OBJECT),
        "MetadefObjectCreate": _writable(metadef_schema.OBJECT),
        "MetadefProperty": plain(metadef_schema.PROPERTY),
        "MetadefPropertyCreate": _writable(metadef_schema.PROPERTY),
        "MetadefTag": plain(metadef_schema.TAG),
        "MetadefTagCreate": _writable(metadef_schema.TAG),
        "MetadefTags": _writable(metadef_schema.TAGS),
    }


def metadef_paths() -> Mapping[str, Mapping[str, Document]]:
    """Return every path with its methods."""
    return {
        f"{_BASE}/resource_types": {
            "get": call("List resource types", {200: list_of("resource_types", "ResourceType")})
        },
        f"{_BASE}/namespaces": {
            "get": call(
                "List namespaces",
                {200: list_of("namespaces", "Namespace")},
                parameters=[*page(*NAMESPACE_SORT_KEYS), _VISIBILITY, query("resource_types")],
            ),
            "post": call(
                "Create a namespace", {201: ref("Namespace")}, body=as_json(ref("NamespaceCreate")), fails=_TAKEN
            ),
        },
        _ONE: {
            "get": call("Show a namespace", {200: ref("Namespace")}, parameters=[_NAMESPACE, _TYPE]),
            "put": call(
                "Change a namespace",
                {200: ref("Namespace")},
                parameters=[_NAMESPACE],
                body=as_json(ref("NamespaceCreate")),
                fails=_TAKEN,
            ),
            "delete": call("Delete a namespace", {204: None}, parameters=[_NAMESPACE]),
        },
        **_objects(),
        **_properties(),
        **_tags(),
        **_associations(),
        **{
            f"/v2/schemas/metadefs/{name}": {"get": call(f"The schema of: {name}", {200: None})}
            for thing in ("namespace", "resource_type", "object", "property", "tag")
            for name in (thing, "properties" if thing == "property" else f"{thing}s")
        },
    }


def _objects() -> Mapping[str, Mapping[str, Document]]:
    return {
        f"{_ONE}/objects": {
            "get": call(
                "List objects",
                {200: list_of("objects", "MetadefObject")},
                parameters=[_NAMESPACE, *page(*DEFINITION_SORT_KEYS)],
            ),
            "post": _add("object", "MetadefObject"),
            "delete": call("Delete all objects", {204: None}, parameters=[_NAMESPACE]),
        },
        f"{_ONE}/objects/{{name}}": _one("object", "MetadefObject"),
    }


def _properties() -> Mapping[str, Mapping[str, Document]]:
    by_name = {"type": "object", "properties": {"properties": {"type": "object"}}}
    one = _one("property", "MetadefProperty")
    return {
        f"{_ONE}/properties": {
            "get": call("List properties", {200: by_name}, parameters=[_NAMESPACE]),
            "post": _add("property", "MetadefProperty"),
            "delete": call("Delete all properties", {204: None}, parameters=[_NAMESPACE]),
        },
        f"{_ONE}/properties/{{name}}": {
            **one,
            "get": call("Show a property", {200: ref("MetadefProperty")}, parameters=[*_NAMED, _TYPE]),
        },
    }


def _tags() -> Mapping[str, Mapping[str, Document]]:
    return {
        f"{_ONE}/tags": {
            "get": call(
                "List tags",
                {200: list_of("tags", "MetadefTag")},
                parameters=[_NAMESPACE, *page(*DEFINITION_SORT_KEYS)],
            ),
            "post": call(
                "Set or append tags",
                {201: list_of("tags", "MetadefTag")},
                parameters=[_NAMESPACE, header("X-Openstack-Append")],
                body=as_json(ref("MetadefTags")),
                fails=_TAKEN,
            ),
            "delete": call("Delete all tags", {204: None}, parameters=[_NAMESPACE]),
        },
        f"{_ONE}/tags/{{name}}": {
            **_one("tag", "MetadefTag"),
            "post": call("Add a tag", {201: ref("MetadefTag")}, parameters=_NAMED, fails=_TAKEN),
        },
    }


def _associations() -> Mapping[str, Mapping[str, Document]]:
    return {
        f"{_ONE}/resource_types": {
            "get": call(
                "List what a namespace is for",
                {200: list_of("resource_type_associations", "Association")},
                parameters=[_NAMESPACE],
            ),
            "post": _add("resource type", "Association"),
        },
        f"{_ONE}/resource_types/{{name}}": {"delete": call("End an association", {204: None}, parameters=_NAMED)},
    }


def _add(what: str, component: str) -> Document:
    body = as_json(ref(f"{component}Create"))
    return call(f"Add a {what}", {201: ref(component)}, parameters=[_NAMESPACE], body=body, fails=_TAKEN)


def _one(what: str, component: str) -> dict[str, Document]:
    body = as_json(ref(f"{component}Create"))
    return {
        "get": call(f"Show a {what}", {200: ref(component)}, parameters=_NAMED),
        "put": call(f"Change a {what}", {200: ref(component)}, parameters=_NAMED, body=body, fails=_TAKEN),
        "delete": call(f"Delete a {what}", {204: None}, parameters=_NAMED),
    }


def _writable(schema: Mapping[str, Any]) -> Document:
    """Return what a client may send: all but what only the service writes."""
    fields = {name: field for name, field in schema["properties"].items() if not field.get("readOnly")}
    return plain({**schema, "properties": fields})
