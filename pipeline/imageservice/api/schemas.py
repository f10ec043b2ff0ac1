"""Answer ``/v2/schemas/…``: what the documents look like, as JSON schema."""

from __future__ import annotations

from typing import Any

import falcon

from pipeline.imageservice.api.context import caller_of
from pipeline.imageservice.api.resource import Resource, answer_json, refuse_body
from pipeline.imageservice.schema import metadef_schema
from pipeline.imageservice.service import Service

_TEXT = {"type": "string"}

MEMBER: dict[str, Any] = {
    "name": "member",
    "properties": {
        "created_at": {"type": "string", "description": "Date and time of image member creation"},
        "image_id": {
            "type": "string",
            "pattern": "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$",
            "description": "An identifier for the image",
        },
        "member_id": {"type": "string", "description": "An identifier for the image member (tenantId)"},
        "schema": {"readOnly": True, "type": "string"},
        "status": {
            "type": "string",
            "enum": ["pending", "accepted", "rejected"],
            "description": "The status of this image member",
        },
        "updated_at": {"type": "string", "description": "Date and time of last modification of image member"},
    },
}

TASK: dict[str, Any] = {
    "name": "task",
    "properties": {
        "id": {
            "type": "string",
            "pattern": "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$",
            "description": "An identifier for the task",
        },
        "type": {
            "type": "string",
            "enum": ["import", "api_image_import", "location_import"],
            "description": "The type of task represented by this content",
        },
        "status": {
            "type": "string",
            "enum": ["pending", "processing", "success", "failure"],
            "description": "The current status of this task",
        },
        "input": {"type": ["null", "object"], "description": "The parameters required by task, JSON blob"},
        "result": {"type": ["null", "object"], "description": "The result of current task, JSON blob"},
        "progress": {"type": ["null", "object"], "description": "How far the task's steps are, JSON blob"},
        "owner": {"type": ["null", "string"], "description": "An identifier for the owner of this task"},
        "message": {"type": ["null", "string"], "description": "Human-readable informative message on the task"},
        "image_id": {"type": ["null", "string"], "description": "Image associated with the task"},
        "request_id": {"type": ["null", "string"], "description": "Request that made the task"},
        "user_id": {"type": ["null", "string"], "description": "User that made the task"},
        "expires_at": {
            "type": ["null", "string"],
            "description": "Datetime when this resource would be subject to removal",
        },
        "created_at": {"type": "string", "description": "Datetime when this resource was created"},
        "updated_at": {"type": "string", "description": "Datetime when this resource was updated"},
        "self": {"readOnly": True, "type": "string"},
        "schema": {"readOnly": True, "type": "string"},
    },
}


def collection(name: str, items: dict[str, Any], *, pages: bool = True) -> dict[str, Any]:
    """Return the schema of a list of documents."""
    properties: dict[str, Any] = {name: {"type": "array", "items": items}, "schema": _TEXT}
    links = [{"rel": "describedby", "href": "{schema}"}]
    if pages:
        properties |= {"first": _TEXT, "next": _TEXT}
        links = [{"rel": "first", "href": "{first}"}, {"rel": "next", "href": "{next}"}, *links]
    return {"name": name, "properties": properties, "links": links}


class Schema(Resource):
    """One schema. Any authenticated caller may read it."""

    def __init__(self, service: Service, document: dict[str, Any]) -> None:
        super().__init__(service)
        self._document = document

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the schema."""
        refuse_body(req)
        caller_of(req)
        answer_json(resp, self._document)


def resources(service: Service) -> dict[str, Resource]:
    """Return every schema at its path."""
    image = service.image_schema.document
    documents = {
        "image": image,
        "images": collection("images", image),
        "member": MEMBER,
        "members": collection("members", MEMBER, pages=False),
        "task": TASK,
        "tasks": collection("tasks", TASK),
    }
    documents |= {f"metadefs/{name}": document for name, document in metadefs().items()}
    return {f"/v2/schemas/{name}": Schema(service, document) for name, document in documents.items()}


def metadefs() -> dict[str, dict[str, Any]]:
    """Return the schemas of metadata definitions."""
    documents = {
        "namespace": metadef_schema.NAMESPACE,
        "namespaces": collection("namespaces", metadef_schema.NAMESPACE),
        "resource_type": metadef_schema.ASSOCIATION,
        "resource_types": collection("resource_type_associations", metadef_schema.ASSOCIATION),
        "object": metadef_schema.OBJECT,
        "objects": collection("objects", metadef_schema.OBJECT),
        "property": metadef_schema.PROPERTY,
        "properties": collection("properties", metadef_schema.PROPERTY),
        "tag": metadef_schema.TAG,
        "tags": collection("tags", metadef_schema.TAG),
    }
    # Properties come by their names, so that none has to say its own.
    one = {**metadef_schema.PROPERTY, "required": ["title", "type"]}
    documents["properties"]["properties"]["properties"] = {"type": "object", "additionalProperties": one}
    return documents
