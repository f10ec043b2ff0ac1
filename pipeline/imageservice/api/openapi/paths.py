"""Describe each path of the API in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.imageservice.api.openapi.metadefs import metadef_paths
from pipeline.imageservice.api.openapi.parts import (
    TEXT,
    Document,
    as_json,
    call,
    header,
    list_of,
    object_with,
    page,
    part,
    query,
    ref,
)
from pipeline.imageservice.model.queries import SORT_KEYS

Paths = Mapping[str, Mapping[str, Document]]
_IMAGE = part("image_id")
_MEMBER = [_IMAGE, part("member_id")]
_OCTETS = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_PATCH_TYPES = ("application/openstack-images-v2.1-json-patch", "application/openstack-images-v2.0-json-patch")


def paths() -> Paths:
    """Return every path with its methods."""
    return {**_entrances(), **_images(), **_data(), **_sharing(), **_imports(), **_service(), **metadef_paths()}


def _entrances() -> Paths:
    return {
        "/": {"get": call("Versions", {300: None}, open_to_all=True)},
        "/versions": {"get": call("Versions", {200: None}, open_to_all=True)},
        "/v2": {"get": call("Versions", {200: None}, open_to_all=True)},
        "/v2/": {"get": call("Versions", {200: None}, open_to_all=True)},
        "/openapi.json": {"get": call("This document", {200: None}, open_to_all=True)},
    }


def _images() -> Paths:
    return {
        "/v2/images": {
            "get": call("List images", {200: list_of("images", "Image")}, parameters=_image_filters()),
            "post": call("Create an image", {201: ref("Image")}, body=as_json(ref("ImageCreate")), fails=(409, 413)),
        },
        "/v2/images/{image_id}": {
            "get": call("Show an image", {200: ref("Image")}, parameters=[_IMAGE]),
            "patch": call(
                "Change an image",
                {200: ref("Image")},
                parameters=[_IMAGE],
                body={kind: {"schema": ref("Patch")} for kind in _PATCH_TYPES},
                fails=(409, 413, 415),
            ),
            "delete": call("Delete an image", {204: None}, parameters=[_IMAGE], fails=(409,)),
        },
    }


def _data() -> Paths:
    return {
        "/v2/images/{image_id}/file": {
            "get": call(
                "Download data",
                {200: None, 204: None, 206: None},
                parameters=[_IMAGE, header("Range"), header("Content-Range"), query("prefer"), query("store")],
                fails=(416, 503),
            ),
            "put": call(
                "Upload data",
                {204: None},
                parameters=[_IMAGE, header("X-Image-Meta-Store"), header("X-Openstack-Image-Size")],
                body=_OCTETS,
                fails=(409, 410, 413, 415, 503),
            ),
        },
        "/v2/images/{image_id}/stage": {
            "put": call(
                "Stage data for an import",
                {204: None},
                parameters=[_IMAGE, header("X-Openstack-Image-Size")],
                body=_OCTETS,
                fails=(409, 410, 413, 415, 503),
            )
        },
        "/v2/images/{image_id}/actions/deactivate": {
            "post": call("Take an image out of use", {204: None}, parameters=[_IMAGE])
        },
        "/v2/images/{image_id}/actions/reactivate": {
            "post": call("Bring an image back into use", {204: None}, parameters=[_IMAGE])
        },
        "/v2/images/{image_id}/locations": {
            "get": call("List locations", {200: None}, parameters=[_IMAGE]),
            "post": call(
                "Add a location", {202: None}, parameters=[_IMAGE], body=as_json(ref("Location")), fails=(409,)
            ),
        },
    }


def _sharing() -> Paths:
    return {
        "/v2/images/{image_id}/members": {
            "get": call("List members", {200: list_of("members", "Member")}, parameters=[_IMAGE]),
            "post": call(
                "Share an image",
                {200: ref("Member")},
                parameters=[_IMAGE],
                body=as_json(object_with("member", {"type": "string", "minLength": 1, "maxLength": 255})),
                fails=(409, 413),
            ),
        },
        "/v2/images/{image_id}/members/{member_id}": {
            "get": call("Show a member", {200: ref("Member")}, parameters=_MEMBER),
            "put": call(
                "Accept or reject an image",
                {200: ref("Member")},
                parameters=_MEMBER,
                body=as_json(object_with("status", {"type": "string", "enum": ["pending", "accepted", "rejected"]})),
            ),
            "delete": call("Stop sharing an image", {204: None}, parameters=_MEMBER),
        },
        "/v2/images/{image_id}/tags/{tag}": {
            "put": call("Put a tag on", {204: None}, parameters=[_IMAGE, part("tag")], fails=(413,)),
            "delete": call("Take a tag off", {204: None}, parameters=[_IMAGE, part("tag")]),
        },
    }


def _imports() -> Paths:
    return {
        "/v2/images/{image_id}/tasks": {
            "get": call("List an image's tasks", {200: list_of("tasks", "Task")}, parameters=[_IMAGE])
        },
        "/v2/images/{image_id}/tasks/{task_id}": {
            "delete": call("End an import", {202: None}, parameters=[_IMAGE, part("task_id")], fails=(409,))
        },
        "/v2/images/{image_id}/tasks/{task_id}/retry": {
            "post": call("Try an import again", {202: None}, parameters=[_IMAGE, part("task_id")], fails=(409, 413))
        },
        "/v2/images/{image_id}/import": {
            "post": call(
                "Import data into stores",
                {202: None},
                parameters=[_IMAGE],
                body=as_json(ref("Import")),
                fails=(409, 413),
            )
        },
    }


def _service() -> Paths:
    return {
        "/v2/info/import": {"get": call("Ways of importing data", {200: None})},
        "/v2/info/stores": {"get": call("Where images can be kept", {200: None})},
        "/v2/info/stores/detail": {"get": call("How the stores are set up", {200: None})},
        "/v2/info/usage": {"get": call("Limits, and what is used of them", {200: None})},
        "/v2/stores/{store_id}/{image_id}": {
            "delete": call(
                "Take an image out of one store", {204: None}, parameters=[part("store_id"), _IMAGE], fails=(409,)
            )
        },
        "/v2/tasks": {
            "get": call("List tasks", {200: list_of("tasks", "Task")}, parameters=page("created_at", "status")),
            "post": call("Create a task", {201: ref("Task")}, body=as_json(_task_body())),
        },
        "/v2/tasks/{task_id}": {"get": call("Show a task", {200: ref("Task")}, parameters=[part("task_id")])},
        **{
            f"/v2/schemas/{name}": {"get": call(f"The schema of: {name}", {200: None})}
            for name in ("image", "images", "member", "members", "task", "tasks")
        },
    }


def _image_filters() -> list[Document]:
    texts = ("name", "status", "container_format", "disk_format", "id", "owner", "tag", "created_at", "updated_at")
    integers = ("size_min", "size_max", "min_ram", "min_disk")
    return [
        *page(*SORT_KEYS),
        query("sort"),
        query("visibility", {"type": "string", "enum": ["public", "private", "shared", "community", "all"]}),
        query("member_status", {"type": "string", "enum": ["pending", "accepted", "rejected", "all"]}),
        query("protected", {"type": "string", "enum": ["true", "false"]}),
        query("os_hidden", {"type": "string", "enum": ["true", "false"]}),
        *(query(name) for name in texts),
        *(query(name, {"type": "integer"}) for name in integers),
    ]


def _task_body() -> Document:
    properties = {"import_from": TEXT, "import_from_format": TEXT, "image_properties": {"type": "object"}}
    return {
        "type": "object",
        "required": ["type", "input"],
        "additionalProperties": False,
        "properties": {
            "type": {"type": "string", "enum": ["import"]},
            "input": {"type": "object", "minProperties": 1, "properties": properties},
        },
    }
