"""``GET /openapi.json``: the API described for machines: generators of clients, gateways, fuzzers.

The description is put together from the schemas that requests are checked against; a test holds it to the routes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import falcon

from pipeline.imageservice.api import schemas
from pipeline.imageservice.api.resource import Resource, answer_json, refuse_body
from pipeline.imageservice.catalog.query import SORT_KEYS
from pipeline.imageservice.service import Service

Document = dict[str, Any]
_TEXT = {"type": "string"}
_OCTETS = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_PATCH_TYPES = ("application/openstack-images-v2.1-json-patch", "application/openstack-images-v2.0-json-patch")


def describe(service: Service) -> Document:
    """The OpenAPI 3.0 document of ``service`` as it is configured."""
    return {
        "openapi": "3.0.3",
        "info": {"title": "Image service", "version": "v2", "license": {"name": "Apache-2.0"}},
        "security": [{"token": []}],
        "paths": {path: dict(methods) for path, methods in _paths().items()},
        "components": {
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
            "schemas": _components(service),
        },
    }


class OpenApi(Resource):
    """The description itself; no token is needed for it."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """The document."""
        refuse_body(req)
        answer_json(resp, describe(self.service))


def _components(service: Service) -> Document:
    image = service.image_schema
    writable = {
        name: schema for name, schema in image.base.items() if not schema.get("readOnly") and name != "locations"
    }
    typed = {name: {**schema} for name, schema in image.typed.items()}
    return {
        "Image": _plain({**image.document, "type": "object"}),
        "ImageCreate": _plain(
            {"type": "object", "properties": {**writable, **typed}, "additionalProperties": {"type": "string"}}
        ),
        "Member": _plain({**schemas.MEMBER, "type": "object"}),
        "Task": _plain({**schemas.TASK, "type": "object"}),
        "Patch": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["op", "path"],
                "properties": {
                    "op": {"type": "string", "enum": ["add", "replace", "remove"]},
                    "path": {"type": "string", "pattern": "^/[^/~]+$"},
                    "value": {},
                },
            },
        },
        "Import": {
            "type": "object",
            "required": ["method"],
            "properties": {
                "method": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string", "enum": ["glance-direct", "web-download", "copy-image"]},
                        "uri": {"type": "string"},
                    },
                },
                "stores": {"type": "array", "items": {"type": "string"}},
                "all_stores": {"type": "boolean"},
                "all_stores_must_succeed": {"type": "boolean"},
            },
        },
        "Location": {
            "type": "object",
            "required": ["url"],
            "additionalProperties": False,
            "properties": {
                "url": {"type": "string", "maxLength": 255},
                "validation_data": {
                    "type": "object",
                    "properties": {
                        "os_hash_algo": {"type": "string", "enum": ["md5", "sha1", "sha256", "sha512"]},
                        "os_hash_value": {"type": "string", "maxLength": 128},
                    },
                },
            },
        },
    }


def _paths() -> Mapping[str, Mapping[str, Document]]:
    image, member = [_part("image_id")], [_part("image_id"), _part("member_id")]
    return {
        "/": {"get": _call("Versions", {300: None}, open_to_all=True)},
        "/versions": {"get": _call("Versions", {200: None}, open_to_all=True)},
        "/v2": {"get": _call("Versions", {200: None}, open_to_all=True)},
        "/v2/": {"get": _call("Versions", {200: None}, open_to_all=True)},
        "/openapi.json": {"get": _call("This document", {200: None}, open_to_all=True)},
        "/v2/images": {
            "get": _call("List images", {200: _list_of("images", "Image")}, parameters=_image_filters()),
            "post": _call("Create an image", {201: _ref("Image")}, body=_json(_ref("ImageCreate")), fails=(409, 413)),
        },
        "/v2/images/{image_id}": {
            "get": _call("Show an image", {200: _ref("Image")}, parameters=image),
            "patch": _call(
                "Change an image",
                {200: _ref("Image")},
                parameters=image,
                body={kind: {"schema": _ref("Patch")} for kind in _PATCH_TYPES},
                fails=(409, 413, 415),
            ),
            "delete": _call("Delete an image", {204: None}, parameters=image, fails=(409,)),
        },
        "/v2/images/{image_id}/file": {
            "get": _call(
                "Download data",
                {200: None, 204: None, 206: None},
                parameters=[*image, _header("Range"), _header("Content-Range"), _query("prefer")],
                fails=(416, 503),
            ),
            "put": _call(
                "Upload data",
                {204: None},
                parameters=[*image, _header("X-Image-Meta-Store"), _header("X-Openstack-Image-Size")],
                body=_OCTETS,
                fails=(409, 410, 413, 415, 503),
            ),
        },
        "/v2/images/{image_id}/stage": {
            "put": _call(
                "Stage data for an import",
                {204: None},
                parameters=[*image, _header("X-Openstack-Image-Size")],
                body=_OCTETS,
                fails=(409, 410, 413, 415, 503),
            )
        },
        "/v2/images/{image_id}/actions/deactivate": {
            "post": _call("Take an image out of use", {204: None}, parameters=image)
        },
        "/v2/images/{image_id}/actions/reactivate": {
            "post": _call("Bring an image back into use", {204: None}, parameters=image)
        },
        "/v2/images/{image_id}/locations": {
            "get": _call("List locations", {200: None}, parameters=image),
            "post": _call("Add a location", {202: None}, parameters=image, body=_json(_ref("Location")), fails=(409,)),
        },
        "/v2/images/{image_id}/members": {
            "get": _call("List members", {200: _list_of("members", "Member")}, parameters=image),
            "post": _call(
                "Share an image",
                {200: _ref("Member")},
                parameters=image,
                body=_json(_object("member", {"type": "string", "minLength": 1, "maxLength": 255})),
                fails=(409, 413),
            ),
        },
        "/v2/images/{image_id}/members/{member_id}": {
            "get": _call("Show a member", {200: _ref("Member")}, parameters=member),
            "put": _call(
                "Accept or reject an image",
                {200: _ref("Member")},
                parameters=member,
                body=_json(_object("status", {"type": "string", "enum": ["pending", "accepted", "rejected"]})),
            ),
            "delete": _call("Stop sharing an image", {204: None}, parameters=member),
        },
        "/v2/images/{image_id}/tags/{tag}": {
            "put": _call("Put a tag on", {204: None}, parameters=[*image, _part("tag")], fails=(413,)),
            "delete": _call("Take a tag off", {204: None}, parameters=[*image, _part("tag")]),
        },
        "/v2/images/{image_id}/tasks": {
            "get": _call("List an image's tasks", {200: _list_of("tasks", "Task")}, parameters=image)
        },
        "/v2/images/{image_id}/tasks/{task_id}": {
            "delete": _call("End an import", {202: None}, parameters=[*image, _part("task_id")], fails=(409,))
        },
        "/v2/images/{image_id}/tasks/{task_id}/retry": {
            "post": _call("Try an import again", {202: None}, parameters=[*image, _part("task_id")], fails=(409, 413))
        },
        "/v2/images/{image_id}/import": {
            "post": _call(
                "Import data into stores", {202: None}, parameters=image, body=_json(_ref("Import")), fails=(409, 413)
            )
        },
        "/v2/info/import": {"get": _call("Ways of importing data", {200: None})},
        "/v2/info/stores": {"get": _call("Where images can be kept", {200: None})},
        "/v2/info/stores/detail": {"get": _call("How the stores are set up", {200: None})},
        "/v2/info/usage": {"get": _call("Limits, and what is used of them", {200: None})},
        "/v2/stores/{store_id}/{image_id}": {
            "delete": _call(
                "Take an image out of one store", {204: None}, parameters=[_part("store_id"), *image], fails=(409,)
            )
        },
        "/v2/tasks": {
            "get": _call("List tasks", {200: _list_of("tasks", "Task")}, parameters=_page("created_at", "status")),
            "post": _call("Create a task", {201: _ref("Task")}, body=_json(_task_body())),
        },
        "/v2/tasks/{task_id}": {"get": _call("Show a task", {200: _ref("Task")}, parameters=[_part("task_id")])},
        **{
            f"/v2/schemas/{name}": {"get": _call(f"The schema of: {name}", {200: None})}
            for name in ("image", "images", "member", "members", "task", "tasks")
        },
    }


def _call(
    summary: str,
    answers: Mapping[int, Document | None],
    *,
    parameters: Sequence[Document] = (),
    body: Document | None = None,
    fails: Sequence[int] = (),
    open_to_all: bool = False,
) -> Document:
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


def _image_filters() -> list[Document]:
    texts = ("name", "status", "container_format", "disk_format", "id", "owner", "tag", "created_at", "updated_at")
    integers = ("size_min", "size_max", "min_ram", "min_disk")
    return [
        *_page(*SORT_KEYS),
        _query("sort"),
        _query("visibility", {"type": "string", "enum": ["public", "private", "shared", "community", "all"]}),
        _query("member_status", {"type": "string", "enum": ["pending", "accepted", "rejected", "all"]}),
        _query("protected", {"type": "string", "enum": ["true", "false"]}),
        _query("os_hidden", {"type": "string", "enum": ["true", "false"]}),
        *(_query(name) for name in texts),
        *(_query(name, {"type": "integer"}) for name in integers),
    ]


def _page(*sort_keys: str) -> list[Document]:
    return [
        _query("limit", {"type": "integer", "minimum": 0}),
        _query("marker"),
        _query("sort_key", {"type": "string", "enum": list(sort_keys)}),
        _query("sort_dir", {"type": "string", "enum": ["asc", "desc"]}),
    ]


def _task_body() -> Document:
    properties = {"import_from": _TEXT, "import_from_format": _TEXT, "image_properties": {"type": "object"}}
    return {
        "type": "object",
        "required": ["type", "input"],
        "additionalProperties": False,
        "properties": {
            "type": {"type": "string", "enum": ["import"]},
            "input": {"type": "object", "properties": properties},
        },
    }


def _part(name: str) -> Document:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _query(name: str, schema: Document | None = None) -> Document:
    return {"name": name, "in": "query", "schema": schema or _TEXT}


def _header(name: str) -> Document:
    return {"name": name, "in": "header", "schema": _TEXT}


def _json(schema: Document) -> Document:
    return {"application/json": {"schema": schema}}


def _object(name: str, schema: Document) -> Document:
    return {"type": "object", "required": [name], "properties": {name: schema}}


def _ref(name: str) -> Document:
    return {"$ref": f"#/components/schemas/{name}"}


def _list_of(name: str, component: str) -> Document:
    return {"type": "object", "properties": {name: {"type": "array", "items": _ref(component)}}}


def _plain(schema: Document) -> Document:
    """A JSON schema in the words OpenAPI 3.0 has: ``nullable`` for null, and no keys of our own."""
    plain = {name: value for name, value in schema.items() if name not in ("name", "links", "is_base")}
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            plain[name] = _plain(schema[name])
    if "properties" in schema:
        plain["properties"] = {name: _plain(inner) for name, inner in schema["properties"].items()}
    if isinstance(schema.get("type"), list):
        plain["type"] = next(kind for kind in schema["type"] if kind != "null")
        plain["nullable"] = True
    return plain
