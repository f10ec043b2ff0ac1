"""``POST /v2/images``, ``GET`` and ``DELETE /v2/images/{id}``."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.imageservice.api.world import Api, image_id, message

SHOWN = {
    "name",
    "disk_format",
    "container_format",
    "visibility",
    "size",
    "virtual_size",
    "status",
    "checksum",
    "protected",
    "min_ram",
    "min_disk",
    "owner",
    "os_hidden",
    "os_hash_algo",
    "os_hash_value",
    "id",
    "created_at",
    "updated_at",
    "tags",
    "self",
    "file",
    "schema",
}


def test_an_empty_object_makes_an_image(api: Api) -> None:
    answer = api.alice.post("/v2/images", {})
    assert answer.status_code == 201
    image = answer.json
    assert set(image) == SHOWN
    assert image["status"] == "queued"
    assert image["visibility"] == "shared"
    assert image["owner"] == api.alice.project
    assert (image["protected"], image["os_hidden"], image["tags"]) == (False, False, [])
    assert (image["min_ram"], image["min_disk"]) == (0, 0)
    empty = {
        "name",
        "disk_format",
        "container_format",
        "size",
        "virtual_size",
        "checksum",
        "os_hash_algo",
        "os_hash_value",
    }
    assert {image[name] for name in empty} == {None}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", image["created_at"])
    assert image["updated_at"] == image["created_at"]
    path = f"/v2/images/{image['id']}"
    assert (image["self"], image["file"], image["schema"]) == (path, f"{path}/file", "/v2/schemas/image")
    assert answer.headers["location"] == f"http://falconframework.org{path}"
    assert answer.headers["openstack-image-store-ids"] == "main,mirror"
    assert api.alice.get(path).json == image


def test_everything_that_can_be_set(api: Api) -> None:
    fields: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "name": "n" * 255,
        "visibility": "private",
        "protected": True,
        "os_hidden": True,
        "owner": api.alice.project,
        "container_format": "ova",
        "disk_format": "iso",
        "min_ram": 2147483647,
        "min_disk": 1,
        "tags": ["b", "a", "b"],
        "os_distro": "debian",
        "ramdisk_id": str(uuid.uuid4()),
        "x" * 255: "long" * 16_000,
        "with/slash ~ and blank": "",
    }
    image = api.alice.post("/v2/images", fields).json
    assert {name: image[name] for name in fields if name != "tags"} == {k: v for k, v in fields.items() if k != "tags"}
    assert sorted(image["tags"]) == ["a", "b"]


def test_the_store_header_means_nothing_here(api: Api) -> None:
    assert api.alice.post("/v2/images", {}, headers={"x-image-meta-store": "nowhere"}).status_code == 201


def test_null_is_kept_where_the_schema_allows_it_and_shown_as_empty(api: Api) -> None:
    path = api.alice.create(kernel_id=None, name=None, disk_format=None)
    image = api.alice.get(path).json
    assert (image["kernel_id"], image["name"], image["disk_format"]) == (None, None, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"disk_format": "zip"},
        {"container_format": "bar"},
        {"disk_format": ""},
        {"name": "n" * 256},
        {"name": 5},
        {"visibility": "secret"},
        {"visibility": None},
        {"protected": "true"},
        {"os_hidden": 1},
        {"id": "x"},
        {"id": "12345678123456781234567812345678"},
        {"id": "0a0b0c0d-0000-4000-8000-000000000001\n"},
        {"min_ram": -1},
        {"min_disk": 2147483648},
        {"min_ram": "5"},
        {"min_ram": True},
        {"min_ram": 1.5},
        {"tags": "t"},
        {"tags": [5]},
        {"tags": ["t" * 256]},
        {"owner": "o" * 256},
        {"owner": 5},
        {"kernel_id": "x"},
        {"cinder_encryption_key_deletion_policy": "later"},
        {"any": 5},
        {"any": None},
        {"any": True},
        {"any": ["x"]},
        {"any": {"x": "y"}},
        {"p" * 256: "v"},
        {"": "v"},
        [],
        [{"name": "x"}],
    ],
    ids=lambda fields: json.dumps(fields)[:40],
)
def test_bodies_that_break_the_schema(api: Api, fields: Any) -> None:
    answer = api.alice.post("/v2/images", fields)
    assert answer.status_code == 400
    assert len(message(answer)) > 10
    assert api.alice.ids() == []


@pytest.mark.parametrize(
    "fields",
    [
        {name: "x"}
        for name in [
            "created_at",
            "updated_at",
            "status",
            "checksum",
            "os_hash_algo",
            "os_hash_value",
            "self",
            "file",
            "schema",
            "stores",
            "direct_url",
            "location",
            "deleted",
            "deleted_at",
            "os_glance_foo",
            "os_glancefoo",
            "os_glance_import_task",
        ]
        if name != "status"
    ]
    + [{"status": "active"}, {"size": 5}, {"virtual_size": 5}, {"locations": []}],
    ids=str,
)
def test_names_that_are_not_the_clients(api: Api, fields: dict[str, Any]) -> None:
    assert api.alice.post("/v2/images", fields).status_code == 403
    assert api.admin.post("/v2/images", fields).status_code == 403


def test_owners(api: Api) -> None:
    refused = api.alice.post("/v2/images", {"owner": api.bob.project})
    assert refused.status_code == 403
    assert api.bob.project in message(refused)
    assert api.alice.post("/v2/images", {"owner": ""}).status_code == 403
    assert api.admin.post("/v2/images", {"owner": api.bob.project}).json["owner"] == api.bob.project
    assert api.admin.post("/v2/images", {"owner": ""}).json["owner"] is None
    assert api.admin.post("/v2/images", {"owner": None}).json["owner"] is None


def test_visibilities(api: Api) -> None:
    for visibility in ("private", "shared", "community"):
        assert api.alice.post("/v2/images", {"visibility": visibility}).status_code == 201
    assert api.alice.post("/v2/images", {"visibility": "public"}).status_code == 403
    assert api.admin.post("/v2/images", {"visibility": "public"}).status_code == 201
    assert api.rita.post("/v2/images", {}).status_code == 403


def test_an_id_is_never_given_twice(api: Api) -> None:
    path = api.alice.create()
    again = {"id": image_id(path)}
    assert api.bob.post("/v2/images", again).status_code == 409
    assert api.alice.delete(path).status_code == 204
    assert api.bob.post("/v2/images", again).status_code == 409


def test_limits(make_api: Callable[..., Api]) -> None:
    api = make_api(quotas={"image_tags": 2, "image_properties": 2})
    assert api.alice.post("/v2/images", {"tags": ["a", "b", "a"], "x": "1", "y": "2"}).status_code == 201
    for fields in ({"tags": ["a", "b", "c"]}, {"x": "1", "y": "2", "z": "3"}):
        answer = api.alice.post("/v2/images", fields)
        assert answer.status_code == 413
        assert "Attempted: 3, Maximum: 2" in answer.text
    free = make_api(quotas={"image_tags": -1, "image_properties": -1})
    assert free.alice.post("/v2/images", {"tags": [str(n) for n in range(300)]}).status_code == 201


def test_limits_by_default(api: Api) -> None:
    assert api.alice.post("/v2/images", {"tags": [str(n) for n in range(128)]}).status_code == 201
    assert api.alice.post("/v2/images", {"tags": [str(n) for n in range(129)]}).status_code == 413
    assert api.alice.post("/v2/images", {f"p{n}": "" for n in range(128)}).status_code == 201
    assert api.alice.post("/v2/images", {f"p{n}": "" for n in range(129)}).status_code == 413


def test_the_operators_own_schema(make_api: Callable[..., Api], tmp_path: Path) -> None:
    file = tmp_path / "schema-image.json"
    properties = {"level": {"type": "string", "enum": ["1", "2"]}, "note": {"type": "string", "maxLength": 3}}
    file.write_text(json.dumps({"properties": properties, "required": ["level"]}))
    api = make_api(api={"image_schema": str(file)})
    schema = api.alice.get("/v2/schemas/image").json
    assert schema["properties"]["level"] == {"type": "string", "enum": ["1", "2"], "is_base": False}
    assert schema["required"] == ["level"]
    assert "kernel_id" not in schema["properties"]
    assert api.alice.post("/v2/images", {"level": "1", "note": "abc"}).status_code == 201
    for fields in ({}, {"level": "3"}, {"level": "1", "note": "abcd"}):
        assert api.alice.post("/v2/images", fields).status_code == 400


def test_images_that_cannot_be_shown(api: Api) -> None:
    private = api.alice.create(visibility="private")
    gone = api.alice.create()
    assert api.alice.delete(gone).status_code == 204
    for path in (private, gone, f"/v2/images/{uuid.uuid4()}", "/v2/images/name-of-an-image", "/v2/images/" + "x" * 300):
        assert api.bob.get(path).status_code == 404
        assert api.bob.delete(path).status_code == 404
        assert api.bob.patch(path, []).status_code == 404
    assert api.admin.get(gone).status_code == 404
    assert api.admin.get(private).status_code == 200


def test_delete(api: Api) -> None:
    path = api.alice.active(b"data")
    answer = api.alice.delete(path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert api.alice.get(path).status_code == 404
    assert api.alice.delete(path).status_code == 404
    assert image_id(path) not in api.admin.ids()
    folder = api.service.settings.folder / "stores"
    assert not [file for file in folder.rglob("*") if file.is_file()]


def test_a_protected_image_stays(api: Api) -> None:
    path = api.alice.create(protected=True)
    refused = api.alice.delete(path)
    assert refused.status_code == 403
    assert image_id(path) in message(refused)
    assert api.admin.delete(path).status_code == 403
    assert api.alice.patch(path, [{"op": "replace", "path": "/protected", "value": False}]).status_code == 200
    assert api.alice.delete(path).status_code == 204


def test_a_delayed_delete_can_be_taken_back(make_api: Callable[..., Api]) -> None:
    from pipeline.imageservice.lifecycle import deletion

    api = make_api()
    options = api.service.settings.database.model_copy(update={"delayed_delete": True, "scrub_after": 3600})
    object.__setattr__(api.service.settings, "database", options)
    path, empty = api.alice.active(b"data"), api.alice.create()
    for one in (path, empty):
        assert api.alice.delete(one).status_code == 204
        assert api.alice.get(one).status_code == 404
    assert deletion.finish_pending(api.service, older_than=3600) == 0
    deletion.restore(api.service, image_id(path))
    assert api.alice.get(f"{path}/file").content == b"data"
    assert api.alice.delete(path).status_code == 204
    assert deletion.finish_pending(api.service, older_than=0) == 1
    assert not [file for file in (api.service.settings.folder / "stores").rglob("*") if file.is_file()]
