"""Render metadata definitions as the documents that clients see."""

from __future__ import annotations

from typing import Any

from pipeline.imageservice.api.metadefs.names import link
from pipeline.imageservice.model.metadefs import (
    Association,
    Definition,
    DefinitionKind,
    MetadefNamespace,
    NamespaceView,
    ResourceType,
)
from pipeline.imageservice.schema import times

SCHEMAS = "/v2/schemas/metadefs"


def namespace_document(namespace: MetadefNamespace) -> dict[str, Any]:
    """Return one namespace without its contents."""
    document = {
        "namespace": namespace.namespace,
        "display_name": namespace.display_name,
        "description": namespace.description,
        "visibility": str(namespace.visibility),
        "protected": namespace.protected,
        "owner": namespace.owner,
        **_times(namespace),
        "self": link(namespace.namespace),
        "schema": f"{SCHEMAS}/namespace",
    }
    return {name: value for name, value in document.items() if value is not None}


def listed_document(view: NamespaceView) -> dict[str, Any]:
    """Return one namespace in a list: with the types it is for."""
    document = namespace_document(view.namespace)
    if view.associations:
        document["resource_type_associations"] = [association_document(one) for one in view.associations]
    return document


def full_document(view: NamespaceView, resource_type: str | None = None) -> dict[str, Any]:
    """Return one namespace with all that is in it; its properties named as on resources of a type, if given."""
    document = listed_document(view)
    prefix = view.prefix_for(resource_type) if resource_type else ""
    by_kind: dict[DefinitionKind, list[Definition]] = {kind: [] for kind in DefinitionKind}
    for one in view.definitions:
        by_kind[one.kind].append(one)
    if by_kind[DefinitionKind.PROPERTY]:
        document["properties"] = properties_document(by_kind[DefinitionKind.PROPERTY], prefix)
    if by_kind[DefinitionKind.OBJECT]:
        document["objects"] = [object_document(view.namespace, one, prefix) for one in by_kind[DefinitionKind.OBJECT]]
    if by_kind[DefinitionKind.TAG]:
        document["tags"] = [{"name": one.name} for one in by_kind[DefinitionKind.TAG]]
    return document


def new_object_document(namespace: MetadefNamespace, definition: Definition) -> dict[str, Any]:
    """Return an object that was just made, as the client gave it."""
    own = link(namespace.namespace, "objects", definition.name)
    document = {**definition.document, "name": definition.name, **_times(definition)}
    return document | {"self": own, "schema": f"{SCHEMAS}/object"}


def object_document(namespace: MetadefNamespace, definition: Definition, prefix: str = "") -> dict[str, Any]:
    """Return one object; clients rely on its properties and what of them is required being there, if only as empty."""
    document = {"required": [], "properties": {}, **new_object_document(namespace, definition)}
    if prefix:
        document["properties"] = {prefix + name: one for name, one in document["properties"].items()}
        document["required"] = [prefix + name for name in document["required"]]
    return document


def property_document(definition: Definition) -> dict[str, Any]:
    """Return one property, with its name."""
    return {**definition.document, "name": definition.name}


def properties_document(definitions: list[Definition], prefix: str = "") -> dict[str, Any]:
    """Return properties by their names, in the order of these."""
    return {prefix + one.name: dict(one.document) for one in sorted(definitions, key=lambda one: one.name)}


def tag_document(definition: Definition) -> dict[str, Any]:
    """Return one tag."""
    return {"name": definition.name, **_times(definition)}


def association_document(association: Association) -> dict[str, Any]:
    """Return what a namespace is for."""
    document = {
        "name": association.name,
        "prefix": association.prefix,
        "properties_target": association.properties_target,
        **_times(association),
    }
    return {name: value for name, value in document.items() if value is not None}


def resource_type_document(resource_type: ResourceType) -> dict[str, Any]:
    """Return one type of resource."""
    return {"name": resource_type.name, **_times(resource_type)}


def _times(one: MetadefNamespace | Definition | Association | ResourceType) -> dict[str, str]:
    return {"created_at": times.written(one.created_at), "updated_at": times.written(one.updated_at)}
