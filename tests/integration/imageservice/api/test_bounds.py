"""Every stored text has a length, every answer a bound, and work is bounded before a lock is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from pipeline.imageservice.catalog.database import tables
from tests.integration.imageservice.api.world import OLD_PATCH, PATCH, Api, Person, image_id, message

MAKE = Callable[..., Api]


def operations(count: int, *, old: bool = False, name: str = "p") -> list[dict[str, Any]]:
    """``count`` operations that leave one property."""
    if old:
        return [{"add" if not number else "replace": f"/{name}", "value": str(number)} for number in range(count)]
    return [{"op": "add", "path": f"/{name}", "value": str(number)} for number in range(count)]


@pytest.mark.parametrize("kind", [PATCH, OLD_PATCH])
def test_too_many_operations_take_no_write_lock(make_api: MAKE, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    api = make_api(api={"patch_operations": 5})
    path = api.alice.create()
    old = kind == OLD_PATCH
    assert api.alice.patch(path, operations(5, old=old), kind=kind).status_code == 200

    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise AssertionError("a write transaction began")

    with monkeypatch.context() as patch:
        patch.setattr(type(api.service.database), "write", refuse)
        answer = api.alice.patch(path, operations(6, old=old), kind=kind)
    assert answer.status_code == 413
    assert "6 operations, at most 5" in message(answer)
    assert api.alice.get(path).json["p"] == "4"


def test_two_thousand_operations_are_taken(make_api: MAKE) -> None:
    api = make_api(quotas={"image_properties": 2000})
    path = api.alice.create()
    many = [{"op": "add", "path": f"/p{number}", "value": "x"} for number in range(2000)]
    assert api.alice.patch(path, many).status_code == 200
    assert api.alice.patch(path, [*many, many[0]]).status_code == 413


@pytest.mark.parametrize("verb", ["add", "replace"])
@pytest.mark.parametrize(
    ("value", "bytes_"),
    [("x" * 65_535, 65_535), ("x" * 65_536, 65_536), ("é" * 32_767, 65_534), ("é" * 32_768, 65_536)],
)
def test_a_value_has_a_length(make_api: MAKE, verb: str, value: str, bytes_: int) -> None:
    api = make_api()
    expected = bytes_ <= 65_535
    created = api.alice.post("/v2/images", {"long": value})
    path = api.alice.create(long="x")
    patched = api.alice.patch(path, [{"op": verb, "path": "/long", "value": value}])
    assert (created.status_code, patched.status_code) == ((201, 200) if expected else (413, 413))
    if not expected:
        assert "at most 65535" in message(created)
        assert "at most 65535" in message(patched)


def test_a_value_has_a_length_in_the_old_version_too(make_api: MAKE) -> None:
    api = make_api(api={"version_1": True}, quotas={"property_bytes": 255})
    fine, long = {"x-image-meta-property-p": "x" * 255}, {"x-image-meta-property-p": "x" * 256}
    assert api.alice.call("POST", "/v1/images", headers=fine).status_code == 201
    assert api.alice.call("POST", "/v1/images", headers=long).status_code == 413
    path = api.alice.create().replace("/v2/", "/v1/")
    assert api.alice.call("PUT", path, headers=long).status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/members", {"member": "x" * 70_000}),
        ("POST", "/import", {"method": {"name": "web-download", "uri": "http://a.example/" + "x" * 70_000}}),
        ("POST", "/locations", {"url": "http://a.example/x", "metadata": {"x": "y" * 70_000}}),
    ],
)
def test_a_body_that_names_something_is_small(make_api: MAKE, method: str, path: str, body: dict[str, Any]) -> None:
    api = make_api()
    answer = api.alice.call(method, f"{api.alice.create()}{path}", body)
    assert answer.status_code == 413
    assert "longer than 65536 bytes" in message(answer)


def heavy(person: Person, count: int, size: int, **more: Any) -> list[str]:
    """``count`` images, each with properties of some ``size`` bytes."""
    return [person.create(a="x" * (size // 2), b="y" * (size // 2), **more) for _ in range(count)]


def test_properties_and_tags_have_a_length_together(make_api: MAKE) -> None:
    api = make_api(quotas={"image_metadata_bytes": 4096})
    refused = api.alice.post("/v2/images", {"a": "x" * 2048, "b": "y" * 2048})
    assert refused.status_code == 413
    assert "at most 4096 are kept" in message(refused)
    (path,) = heavy(api.alice, 1, 3000)
    assert api.alice.patch(path, [{"op": "add", "path": "/c", "value": "z" * 1200}]).status_code == 413
    tags = [f"{number:0255}" for number in range(8)]
    assert api.alice.patch(path, [{"op": "replace", "path": "/tags", "value": tags}]).status_code == 413
    for tag in tags[:4]:
        assert api.alice.put(f"{path}/tags/{tag}").status_code == 204
    assert api.alice.put(f"{path}/tags/{tags[4]}").status_code == 413


def test_what_was_stored_under_other_limits_stays_and_can_be_changed_around(make_api: MAKE) -> None:
    (path,) = heavy(make_api().alice, 1, 12_000, tags=["t"])
    alice = make_api(quotas={"image_metadata_bytes": 4096, "property_bytes": 1000}).alice
    assert len(alice.get(path).json["a"]) == 6000
    assert alice.patch(path, [{"op": "replace", "path": "/name", "value": "other"}]).status_code == 200
    assert alice.patch(path, [{"op": "replace", "path": "/b", "value": "less"}]).status_code == 200
    assert alice.patch(path, [{"op": "add", "path": "/c", "value": "more"}]).status_code == 413
    assert alice.delete(f"{path}/tags/t").status_code == 204
    assert alice.patch(path, [{"op": "remove", "path": "/a"}]).status_code == 200
    assert alice.patch(path, [{"op": "add", "path": "/c", "value": "more"}]).status_code == 200


@pytest.mark.parametrize("known", [True, False], ids=["weight known", "written by an older version"])
@pytest.mark.parametrize("query", ["", "sort=name:asc", "limit=3", "tag=t", "visibility=all"])
def test_a_page_ends_for_its_bytes_and_next_goes_on(make_api: MAKE, known: bool, query: str) -> None:
    api = make_api(api={"page_bytes": 40_000})
    paths = heavy(api.alice, 7, 18_000, tags=["t"])
    light = [api.alice.create(tags=["t"]) for _ in range(3)]
    if not known:
        owner = tables.images.c.owner == api.alice.project
        api.service.database.write(
            lambda connection: connection.execute(update(tables.images).where(owner).values(weight=None))
        )
    path, found, pages = f"/v2/images?{query}", [], 0
    while path:
        answer = api.alice.get(path)
        assert answer.status_code == 200
        assert answer.json["images"]
        assert len(answer.content) < 40_000 + 20_000 + 10 * 1_000
        found += [image["id"] for image in answer.json["images"]]
        path = answer.json.get("next", "")
        pages += 1
    assert sorted(found) == sorted(image_id(each) for each in [*paths, *light])
    assert pages >= 3


def test_a_page_has_one_image_at_least(make_api: MAKE) -> None:
    api = make_api(api={"page_bytes": 1})
    paths = heavy(api.alice, 3, 1000)
    assert sorted(api.alice.ids()) == sorted(image_id(path) for path in paths)


def test_old_clients_take_no_short_page_for_the_last_one(make_api: MAKE) -> None:
    api = make_api(api={"page_bytes": 10_000, "version_1": True})
    heavy(api.alice, 3, 8000)
    answer = api.alice.get("/v1/images/detail")
    assert answer.status_code == 413
    assert "limit=2" in answer.text
    assert len(api.alice.get("/v1/images/detail?limit=2").json["images"]) == 2


@pytest.mark.parametrize("kind", [PATCH, "application/json"])
def test_a_body_of_nothing_but_brackets_is_refused_before_it_is_read(
    make_api: MAKE, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    api = make_api()
    path = api.alice.create()
    method, path = ("PATCH", path) if kind == PATCH else ("POST", "/v2/images")
    bombs = [b"[" + b"[]," * 100_000 + b"[]]", b'[{"a\\"":' + b'{},"x":' * 100_000 + b"1}]", b"[" * 200_000]
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.base.json_text.loads", lambda _raw: pytest.fail("it was read"))
        for bomb in bombs:
            answer = api.alice.call(method, path, data=bomb, headers={"Content-Type": kind})
            assert (answer.status_code, "100000 lists and objects" in message(answer)) == (413, True)


@pytest.mark.parametrize("value", ["[" * 65_000, '{"' * 30_000, '\\"[' * 20_000, '"' * 60_000 + "[" * 5_000])
def test_brackets_in_values_are_text(make_api: MAKE, value: str) -> None:
    api = make_api()
    fields = {f"p{number}": value for number in range(4)}
    path = api.alice.create(**fields)
    assert api.alice.get(path).json["p3"] == value


def test_unfinished_text_costs_no_more_than_its_length(make_api: MAKE) -> None:
    api = make_api()
    for body in (b"[" * 100_001 + b'"\\' * 500_000, b"[" * 100_001 + b'\\"' * 500_000 + b"\\"):
        assert api.alice.call("POST", "/v2/images", data=body).status_code in (400, 413)
