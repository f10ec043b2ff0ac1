"""Read metadata definitions out of documents, from clients and from files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.imageservice.model.metadefs import (
    Association,
    Definition,
    DefinitionKind,
    NamespaceFields,
    NamespaceVisibility,
)
from pipeline.imageservice.schema import metadef_schema as schemas
from pipeline.imageservice.schema.metadef_schema import check_document

# What only the service says of an object.
_OURS = ("name", "self", "schema", "created_at", "updated_at")


def read_namespace(body: Any) -> tuple[NamespaceFields, list[Association], list[Definition]]:
    """Read a namespace with its contents. Raises ``Invalid``, and ``Forbidden`` for what only the service writes."""
    document = check_document(body, schemas.NAMESPACE)
    fields = NamespaceFields(
        namespace=document["namespace"],
        display_name=document.get("display_name"),
        description=document.get("description"),
        visibility=NamespaceVisibility(document.get("visibility", NamespaceVisibility.PRIVATE)),
        protected=document.get("protected", False),
        owner=document.get("owner"),
    )
    associations = [_association(one) for one in document.get("resource_type_associations", ())]
    properties = document.get("properties", {})
    contents = [
        *(_object(one) for one in document.get("objects", ())),
        *(_property(name, one) for name, one in properties.items()),
        *(_tag(one["name"]) for one in document.get("tags", ())),
    ]
    return fields, associations, contents


def read_object(body: Any) -> Definition:
    """Read an object. Raises as ``read_namespace``."""
    return _object(check_document(body, schemas.OBJECT))


def read_property(body: Any) -> Definition:
    """Read a property. Raises as ``read_namespace``."""
    document = check_document(body, schemas.PROPERTY)
    return _property(document["name"], document)


def read_tag(body: Any) -> Definition:
    """Read a tag. Raises as ``read_namespace``."""
    return _tag(check_document(body, schemas.TAG)["name"])


def read_tags(body: Any) -> list[Definition]:
    """Read a list of tags. Raises as ``read_namespace``."""
    return [_tag(one["name"]) for one in check_document(body, schemas.TAGS)["tags"]]


def read_association(body: Any) -> Association:
    """Read what a namespace is for. Raises as ``read_namespace``."""
    return _association(check_document(body, schemas.ASSOCIATION))


def named_tag(name: str) -> Definition:
    """Make a tag of a name that came without a document. Raises ``Invalid``."""
    return _tag(schemas.check_name(name, "tag"))


def _association(document: Mapping[str, Any]) -> Association:
    return Association(document["name"], document.get("prefix"), document.get("properties_target"))


def _object(document: Mapping[str, Any]) -> Definition:
    kept = {name: value for name, value in document.items() if name not in _OURS}
    return Definition(DefinitionKind.OBJECT, document["name"], kept)


def _property(name: str, document: Mapping[str, Any]) -> Definition:
    # Among others a property is called by its key; a name that was given beside it follows that.
    kept = {**document, "name": name} if "name" in document else document
    return Definition(DefinitionKind.PROPERTY, name, kept)


def _tag(name: str) -> Definition:
    return Definition(DefinitionKind.TAG, name, {})
