"""Objects, properties and tags of a namespace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.imageservice.api.metadefs.shelf import BASE, FULL, MakeApi, made
from tests.integration.imageservice.api.world import Api

_PROPERTY = {"name": "p", "title": "P", "type": "string"}


def test_objects(api: Api) -> None:
    path = f"{made(api.admin, visibility='public')}/objects"
    body = {"name": "o", "description": "D", "required": ["p"], "properties": {"p": {"title": "P", "type": "string"}}}
    answer = api.admin.post(path, body)
    assert answer.status_code == 201
    assert {name: answer.json[name] for name in body} == body
    assert (answer.json["self"], answer.json["schema"]) == (f"{path}/o", "/v2/schemas/metadefs/object")
    assert api.admin.post(path, body).status_code == 409
    assert api.rita.get(path).json == {"objects": [answer.json], "schema": "v2/schemas/metadefs/objects"}
    changed = api.admin.put(f"{path}/o", {"name": "o2"})
    assert (changed.status_code, changed.json["created_at"]) == (200, answer.json["created_at"])
    assert "description" not in changed.json
    # Clients read both without asking whether they are there.
    assert (changed.json["required"], changed.json["properties"]) == ([], {})
    assert api.admin.get(f"{path}/o2").json == changed.json
    assert api.admin.get(f"{path}/o").status_code == 404
    assert api.admin.post(path, body).status_code == 201
    assert api.admin.put(f"{path}/o", {"name": "o2"}).status_code == 409
    assert api.admin.delete(f"{path}/o2").status_code == 204
    assert api.admin.delete(f"{path}/o2").status_code == 404


def test_properties(api: Api) -> None:
    path = f"{made(api.admin, visibility='public')}/properties"
    answer = api.admin.post(path, _PROPERTY)
    assert (answer.status_code, answer.json) == (201, _PROPERTY)
    assert api.admin.post(path, _PROPERTY).status_code == 409
    assert api.rita.get(path).json == {"properties": {"p": _PROPERTY}}
    full = {
        **_PROPERTY, "name": "q", "type": "array", "items": {"type": "string", "enum": ["a"]}, "minItems": 1,
        "maxItems": 2, "uniqueItems": True, "default": ["a"], "operators": ["<all-in>"], "readonly": True,
        "minimum": 0.5,
    }  # fmt: skip
    assert api.admin.put(f"{path}/p", full).json == full
    assert api.rita.get(f"{path}/q").json == full
    assert api.rita.get(f"{path}/p").status_code == 404
    assert api.admin.put(f"{path}/p", full).status_code == 404
    assert api.admin.delete(f"{path}/q").status_code == 204


def test_tags_are_set_or_appended(api: Api) -> None:
    path = f"{made(api.admin, visibility='public')}/tags"

    def post(*names: str, **headers: str) -> Any:
        return api.admin.post(path, {"tags": [{"name": name} for name in names]}, headers=headers)

    def names() -> list[str]:
        return sorted(tag["name"] for tag in api.rita.get(path).json["tags"])

    assert post("a", "b").json == {"tags": [{"name": "a"}, {"name": "b"}]}
    assert post("c").status_code == 201
    assert names() == ["c"]
    assert post("d", **{"X-Openstack-Append": "true"}).status_code == 201
    assert names() == ["c", "d"]
    assert post("C", **{"X-Openstack-Append": "true"}).status_code == 409
    assert post("x", "x").status_code == 409
    assert names() == ["c", "d"]
    assert post("c", "D").status_code == 201  # replaced, so nothing is there already
    assert names() == ["D", "c"]


def test_one_tag(api: Api) -> None:
    path = f"{made(api.admin, visibility='public')}/tags"
    answer = api.admin.post(f"{path}/t")
    assert (answer.status_code, set(answer.json)) == (201, {"name", "created_at", "updated_at"})
    assert api.admin.post(f"{path}/T").status_code == 409
    assert api.admin.post(f"{path}/{'t' * 81}").status_code == 400
    assert api.admin.post(f"{path}/other", {"name": "x"}).status_code == 400
    assert api.rita.get(f"{path}/t").json == answer.json
    assert api.rita.get(f"{path}/T").status_code == 404
    assert api.admin.put(f"{path}/t", {"name": "T"}).json["name"] == "T"
    assert api.admin.put(f"{path}/T", {"name": "ẞ"}).json["name"] == "ẞ"
    assert api.admin.delete(f"{path}/ẞ").status_code == 204


@pytest.mark.parametrize("kind", ["objects", "tags"])
def test_pages(api: Api, kind: str) -> None:
    contents: dict[str, Any] = {kind: [{"name": name} for name in "bca"]}
    path = made(api.admin, "Our::Names", **contents)
    made(api.admin, "Other", **{kind: [{"name": "x"}]})

    def names(query: str = "") -> str:
        return "".join(one["name"] for one in api.admin.get(f"{path}/{kind}?{query}").json[kind])

    assert names("sort_key=name&sort_dir=asc") == "abc"
    assert names("sort_key=name") == "cba"
    assert names("sort_key=name&limit=1&marker=c") == "b"
    assert names("sort_key=name&sort_dir=asc&limit=2&marker=a") == "bc"
    assert names("limit=1") == names()[0]
    assert names(f"marker={names()[0]}") == names()[1:]
    for query, status in (("marker=x", 404), ("limit=x", 400), ("limit=-1", 400), ("sort_key=id", 400)):
        assert api.admin.get(f"{path}/{kind}?{query}").status_code == status, query
    assert api.admin.get(f"{path}/{kind}?visibility=odd").status_code == 400


@pytest.mark.parametrize(
    ("part", "body", "status"),
    [
        ("objects", {"name": "o", "created_at": "x"}, 403),
        ("objects", {"name": "o", "schema": "x"}, 403),
        ("objects", {"name": "o", "properties": {"p": {"title": "no type"}}}, 400),
        ("objects", {"name": "o", "properties": {"p": {"title": "x", "type": "odd"}}}, 400),
        ("objects", {"name": "o", "required": "p"}, 400),
        ("objects", {}, 400),
        ("properties", {**_PROPERTY, "updated_at": "x"}, 403),
        ("properties", {**_PROPERTY, "self": "x"}, 400),
        ("properties", {**_PROPERTY, "type": None}, 400),
        ("properties", {**_PROPERTY, "minLength": -1}, 400),
        ("properties", {**_PROPERTY, "items": {"type": "string", "x": 1}}, 400),
        ("properties", {"title": "P", "type": "string"}, 400),
        ("tags", {"tags": [{}]}, 400),
        ("tags", {}, 400),
        ("resource_types", {"prefix": "x"}, 400),
        ("resource_types", {"name": "x", "prefix": "p" * 81}, 400),
        ("resource_types", {"name": "x", "created_at": "x"}, 403),
    ],
)
def test_what_is_refused(api: Api, part: str, body: Any, status: int) -> None:
    path = made(api.admin)
    answer = api.admin.post(f"{path}/{part}", body)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("value", ["1e400", "[" * 30 + "]" * 30, '"\\ud800"', '"\\u0000"'])
def test_values_that_could_not_be_said_back(api: Api, value: str) -> None:
    body = json.dumps({**_PROPERTY, "default": "HERE"}).replace('"HERE"', value).encode()
    path = f"{made(api.admin)}/properties"
    answer = api.admin.post(path, data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert api.admin.get(path).json == {"properties": {}}


def test_events(make_api: MakeApi, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    api = make_api(notifications={"targets": [{"kind": "log"}]})
    with caplog.at_level("INFO", logger="imageservice"):
        path = made(api.admin, **FULL)
        api.admin.put(f"{path}/objects/pair", {"name": "p2"})
        api.admin.delete(f"{path}/tags")
        api.admin.put(path, {"namespace": "New"})
        api.admin.delete(f"{BASE}/New/properties/cores")
        api.admin.delete(f"{BASE}/New/resource_types/OS::Nova::Flavor")
        api.admin.delete(f"{BASE}/New")
        assert api.service.notifier.drain(10)
    events = [json.loads(text[text.index("{") :]) for text in caplog.messages if '"event_type"' in text]
    said = [event["event_type"] for event in events]
    created = ["namespace", *["resource_type"] * 2, "object", *["property"] * 2, *["tag"] * 2]
    assert said == [
        *(f"metadef_{kind}.create" for kind in created),
        "metadef_object.update",
        "metadef_namespace.delete_tags",
        "metadef_namespace.update",
        "metadef_property.delete",
        "metadef_resource_type.delete",
        "metadef_namespace.delete",
    ]
    updated = events[said.index("metadef_object.update")]["payload"]
    assert (updated["namespace"], updated["name"], updated["name_old"]) == ("Our::Names", "p2", "pair")
    renamed = events[said.index("metadef_namespace.update")]["payload"]
    assert (renamed["namespace"], renamed["namespace_old"]) == ("New", "Our::Names")
    assert events[-1]["payload"]["deleted"] is True
