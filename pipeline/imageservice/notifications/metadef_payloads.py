"""Render what events on metadata definitions carry (contract: notifications)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.imageservice.model.images import now
from pipeline.imageservice.model.metadefs import Association, Definition, DefinitionKind, MetadefNamespace
from pipeline.imageservice.schema import times

_PROPERTY = (
    "type", "title", "description", "default", "minimum", "maximum", "enum", "pattern", "minLength", "maxLength",
    "confidential", "items", "uniqueItems", "minItems", "maxItems", "additionalItems",
)  # fmt: skip
_ALIVE = {"deleted": False, "deleted_at": None}


def namespace_payload(namespace: MetadefNamespace) -> dict[str, Any]:
    """Describe a namespace, without what it defines."""
    return {
        "namespace": namespace.namespace,
        "namespace_old": namespace.namespace,
        "display_name": namespace.display_name,
        "protected": namespace.protected,
        "visibility": str(namespace.visibility),
        "owner": namespace.owner,
        "description": namespace.description,
        **_times(namespace),
        **_ALIVE,
    }


def definition_payload(namespace: MetadefNamespace, definition: Definition) -> dict[str, Any]:
    """Describe an object, a property or a tag."""
    name = definition.name
    payload: dict[str, Any] = {"namespace": namespace.namespace, "name": name, "name_old": name}
    document = definition.document
    if definition.kind is DefinitionKind.PROPERTY:
        return payload | _property(document) | _ALIVE
    if definition.kind is DefinitionKind.OBJECT:
        properties = document.get("properties", {})
        payload |= {
            "properties": [{"name": key, **_property(one)} for key, one in properties.items()],
            "required": document.get("required"),
            "description": document.get("description"),
        }
    return payload | _times(definition) | _ALIVE


def association_payload(namespace: MetadefNamespace, association: Association) -> dict[str, Any]:
    """Describe that a namespace is for a type of resources."""
    return {
        "namespace": namespace.namespace,
        "name": association.name,
        "name_old": association.name,
        "prefix": association.prefix,
        "properties_target": association.properties_target,
        **_times(association),
        **_ALIVE,
    }


def deleted(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``payload`` as that of something deleted now."""
    return {**payload, "deleted": True, "deleted_at": times.written(now())}


def _property(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: document.get(name) for name in _PROPERTY}


def _times(one: MetadefNamespace | Definition | Association) -> dict[str, str]:
    return {"created_at": times.written(one.created_at), "updated_at": times.written(one.updated_at)}
