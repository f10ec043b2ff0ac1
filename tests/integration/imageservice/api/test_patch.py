"""``PATCH /v2/images/{id}``."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.integration.imageservice.api.world import OLD_PATCH, PATCH, Api, message


def add(path: str, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


def replace(path: str, value: Any) -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": value}


def remove(path: str) -> dict[str, Any]:
    return {"op": "remove", "path": path}


def test_operations_apply_in_order(api: Api) -> None:
    path = api.alice.create(name="old", x="1", tags=["a"])
    operations = [
        add("/y", "2"),
        replace("/y", "3"),
        remove("/x"),
        add("/x", "4"),
        replace("/name", "new"),
        replace("/tags", ["b", "c", "b"]),
        replace("/min_ram", 64),
        replace("/protected", True),
        replace("/os_hidden", True),
        replace("/visibility", "private"),
        replace("/disk_format", "qcow2"),
        add("/a~1b~0c", "pointer"),
    ]
    answer = api.alice.patch(path, operations)
    assert answer.status_code == 200
    image = answer.json
    assert (image["x"], image["y"], image["name"], image["min_ram"]) == ("4", "3", "new", 64)
    assert (image["protected"], image["os_hidden"], image["visibility"]) == (True, True, "private")
    assert (sorted(image["tags"]), image["disk_format"], image["a/b~c"]) == (["b", "c"], "qcow2", "pointer")
    assert api.alice.get(path).json == image


def test_nothing_to_do_is_fine(api: Api) -> None:
    path = api.alice.create(name="x")
    before = api.alice.get(path).json
    assert api.alice.patch(path, []).json == before
    assert api.alice.patch(path, [], kind=OLD_PATCH).json == before


def test_the_older_form(api: Api) -> None:
    path = api.alice.create(name="x", p="1")
    operations = [{"replace": "/name", "value": "y"}, {"add": "/q", "value": "2"}, {"remove": "/p"}]
    image = api.alice.patch(path, operations, kind=OLD_PATCH).json
    assert (image["name"], image["q"], "p" in image) == ("y", "2", False)
    assert api.alice.patch(path, [{"add": "/q", "value": "3"}], kind=OLD_PATCH).status_code == 409
    assert api.alice.patch(path, [{"add": "/name", "value": "3"}], kind=OLD_PATCH).status_code == 409
    assert api.alice.patch(path, [add("/q", "3"), add("/name", "z")]).status_code == 200


def test_other_types_are_refused(api: Api) -> None:
    path = api.alice.create()
    for kind in ("application/json", "application/json-patch+json", "text/plain"):
        answer = api.alice.patch(path, [], kind=kind)
        assert answer.status_code == 415
        assert answer.headers["accept-patch"] == f"{PATCH}, {OLD_PATCH}"
    assert api.alice.patch(path, [], kind=f"{PATCH}; charset=utf-8").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"op": "add", "path": "/x", "value": "y"},
        ["x"],
        [None],
        [{}],
        [{"op": "add", "path": "/x"}],
        [{"op": "add", "value": "x"}],
        [{"path": "/x", "value": "x"}],
        [{"op": "test", "path": "/x", "value": "x"}],
        [{"op": "move", "path": "/x", "from": "/y"}],
        [{"op": ["add"], "path": "/x", "value": "x"}],
        [add("x", "y")],
        [add("", "y")],
        [add("/", "y")],
        [add("//x", "y")],
        [add("/x/", "y")],
        [add("/x//y", "y")],
        [add("/x~y", "y")],
        [add("/x~", "y")],
        [add("/x~2", "y")],
        [add("/  ", "y")],
        [add("/x/y", "y")],
        [add("/tags/-", "y")],
        [add("/tags/0", "y")],
        [remove("/tags/0")],
        [add(["x"], "y")],  # type: ignore[arg-type]
        [add("/locations", [])],
        [add("/locations/x", {"url": "http://x/y", "metadata": {}})],
        [remove("/locations")],
        [remove("/locations/-")],
        [add("/x", 5)],
        [add("/x", None)],
        [replace("/name", 5)],
        [replace("/name", "x" * 256)],
        [replace("/disk_format", "zip")],
        [replace("/visibility", "none")],
        [replace("/protected", "yes")],
        [replace("/tags", "x")],
        [replace("/tags", ["x" * 256])],
        [replace("/min_ram", -1)],
        [replace("/min_disk", 2147483648)],
        [replace("/min_disk", 1.0)],
        [add("/" + "x" * 256, "y")],
    ],
    ids=lambda body: json.dumps(body)[:50],
)
def test_patches_that_make_no_sense(api: Api, body: Any) -> None:
    path = api.alice.create()
    before = api.alice.get(path).json
    answer = api.alice.patch(path, body)
    assert answer.status_code == 400
    assert len(message(answer)) > 10
    assert api.alice.get(path).json == before


@pytest.mark.parametrize(
    "body",
    [[{"add": "/x", "remove": "/x", "value": "y"}], [{"op": "add", "path": "/x", "value": "y"}], [{"value": "x"}]],
)
def test_old_patches_that_make_no_sense(api: Api, body: Any) -> None:
    assert api.alice.patch(api.alice.create(), body, kind=OLD_PATCH).status_code == 400


@pytest.mark.parametrize(
    "name",
    [
        "id",
        "created_at",
        "updated_at",
        "status",
        "checksum",
        "size",
        "virtual_size",
        "os_hash_algo",
        "os_hash_value",
        "direct_url",
        "self",
        "file",
        "schema",
        "stores",
        "location",
        "deleted",
        "deleted_at",
        "os_glance_foo",
        "os_glance_import_task",
        "os_glance_importing_to_stores",
    ],
)
def test_names_that_are_not_the_clients(api: Api, name: str) -> None:
    path = api.alice.create()
    before = api.alice.get(path).json
    for operation in (add(f"/{name}", "x"), replace(f"/{name}", "x"), remove(f"/{name}")):
        assert api.alice.patch(path, [operation]).status_code == 403
        assert api.admin.patch(path, [operation]).status_code == 403
    assert api.alice.patch(path, [{"add": f"/{name}", "value": "x"}], kind=OLD_PATCH).status_code == 403
    assert api.alice.get(path).json == before


def test_base_fields_cannot_be_removed(api: Api) -> None:
    path = api.alice.create()
    for name in ("name", "owner", "visibility", "tags", "min_ram", "disk_format", "protected", "os_hidden"):
        assert api.alice.patch(path, [remove(f"/{name}")]).status_code == 403


def test_properties_that_are_not_there(api: Api) -> None:
    path = api.alice.create()
    assert api.alice.patch(path, [replace("/x", "y")]).status_code == 409
    assert api.alice.patch(path, [remove("/x")]).status_code == 409


def test_all_or_nothing(api: Api) -> None:
    path = api.alice.create(name="old", x="1")
    before = api.alice.get(path).json
    for last in (remove("/missing"), replace("/owner", "other"), replace("/visibility", "public")):
        assert api.alice.patch(path, [replace("/name", "new"), remove("/x"), last]).status_code in (403, 409)
        assert api.alice.get(path).json == before


def test_formats_are_fixed_once_there_is_data(api: Api) -> None:
    path = api.alice.active()
    for name in ("disk_format", "container_format"):
        assert api.alice.patch(path, [replace(f"/{name}", "ova" if name[0] == "c" else "iso")]).status_code == 403
    assert api.alice.patch(path, [replace("/name", "x")]).status_code == 200


@pytest.mark.parametrize("verb", [add, replace])
def test_only_administrators_give_images_away(api: Api, verb: Callable[[str, Any], dict[str, Any]]) -> None:
    """The reference stores the change of ``add`` and only then refuses it."""
    path = api.alice.create(name="mine")
    for value in (api.bob.project, "", None):
        assert api.alice.patch(path, [replace("/name", "new"), verb("/owner", value)]).status_code == 403
    image = api.alice.get(path).json
    assert (image["owner"], image["name"]) == (api.alice.project, "mine")
    assert api.admin.patch(path, [verb("/owner", api.bob.project)]).json["owner"] == api.bob.project
    assert api.alice.get(path).status_code == 404
    assert api.admin.patch(path, [verb("/owner", "")]).json["owner"] is None


def test_visibility(api: Api) -> None:
    path = api.alice.create()
    assert api.alice.patch(path, [replace("/visibility", "public")]).status_code == 403
    assert api.alice.patch(path, [replace("/visibility", "community")]).status_code == 200
    assert api.bob.patch(path, [replace("/visibility", "private")]).status_code == 403
    assert api.admin.patch(path, [replace("/visibility", "public")]).status_code == 200
    assert api.alice.patch(path, [replace("/name", "still mine")]).status_code == 200
    assert api.alice.patch(path, [replace("/visibility", "private")]).status_code == 200


def test_limits_apply_to_what_is_added(make_api: Callable[..., Api], api: Api) -> None:
    path = api.alice.create(tags=["a", "b", "c"], x="1", y="2", z="3")
    narrow = make_api(quotas={"image_tags": 2, "image_properties": 2})
    assert narrow.alice.patch(path, [replace("/name", "x"), replace("/x", "9")]).status_code == 200
    assert narrow.alice.patch(path, [remove("/x")]).status_code == 200
    assert narrow.alice.patch(path, [add("/w", "1")]).status_code == 413
    assert narrow.alice.patch(path, [replace("/tags", ["a", "b", "d"])]).status_code == 413
    assert narrow.alice.patch(path, [replace("/tags", ["a"])]).status_code == 200


def test_concurrent_patches_all_arrive(api: Api) -> None:
    path = api.alice.create()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: api.alice.patch(path, [add(f"/p{n}", str(n))]).status_code, range(40)))
    assert answers == [200] * 40
    image = api.alice.get(path).json
    assert all(image[f"p{n}"] == str(n) for n in range(40))
