"""``/v2/metadefs/namespaces`` and the types of resources they are for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pipeline.imageservice.catalog.metadefs import resource_types
from pipeline.imageservice.model.metadefs import FIRST_RESOURCE_TYPES
from tests.integration.imageservice.api.metadefs import unquoted
from tests.integration.imageservice.api.metadefs.shelf import BASE, FULL, OPEN_UP, MakeApi, listed, made, statements
from tests.integration.imageservice.api.world import Api, Person, message


def test_a_namespace_comes_back_as_it_was_sent(api: Api) -> None:
    answer = api.admin.post(BASE, {"namespace": "Our::Names", **FULL})
    assert answer.status_code == 201
    assert answer.headers["Location"].endswith("/v2/metadefs/namespaces/Our::Names")
    document = api.admin.get(f"{BASE}/Our::Names").json
    assert document == answer.json
    assert (document["owner"], document["protected"]) == (api.admin.project, False)
    assert (document["self"], document["schema"]) == (f"{BASE}/Our::Names", "/v2/schemas/metadefs/namespace")
    assert document["properties"] == FULL["properties"]
    [pair] = document["objects"]
    assert {name: pair[name] for name in FULL["objects"][0]} == FULL["objects"][0]
    assert pair["self"] == f"{BASE}/Our::Names/objects/pair"
    assert sorted(tag["name"] for tag in document["tags"]) == ["first", "second"]
    said = [{k: v for k, v in one.items() if "_at" not in k} for one in document["resource_type_associations"]]
    assert said == FULL["resource_type_associations"]


def test_defaults_are_private_and_the_callers(api: Api) -> None:
    document = api.admin.get(made(api.admin)).json
    assert (document["visibility"], document["protected"], document["owner"]) == ("private", False, api.admin.project)
    assert {"properties", "objects", "tags", "resource_type_associations", "description"}.isdisjoint(document)


def test_properties_are_called_as_a_type_of_resource_has_them(api: Api) -> None:
    path = made(api.admin, **FULL)
    document = api.alice.get(f"{path}?resource_type=OS::Nova::Flavor").json
    assert set(document["properties"]) == {"hw:cores", "hw:mode"}
    assert set(document["objects"][0]["properties"]) == {"hw:one", "hw:two"}
    assert document["objects"][0]["required"] == ["hw:one"]
    assert set(api.alice.get(f"{path}?resource_type=OS::Unknown").json["properties"]) == {"cores", "mode"}
    prefixed = api.alice.get(f"{path}/properties/hw:cores?resource_type=OS::Nova::Flavor")
    assert (prefixed.status_code, prefixed.json["name"]) == (200, "cores")
    for name in ("cores?resource_type=OS::Nova::Flavor", "hw:cores?resource_type=OS::Unknown", "hw:cores"):
        assert api.alice.get(f"{path}/properties/{name}").status_code == 404


def test_fields_are_replaced_and_contents_stay(api: Api) -> None:
    path = made(api.admin, **FULL, protected=True)
    answer = api.admin.put(path, {"namespace": "Other"})
    assert answer.status_code == 200
    assert (answer.json["visibility"], answer.json["protected"]) == ("private", False)
    assert {"display_name", "description"}.isdisjoint(answer.json)
    assert answer.json["self"] == f"{BASE}/Other"
    assert api.admin.get(path).status_code == 404
    assert set(api.admin.get(f"{BASE}/Other").json["properties"]) == {"cores", "mode"}


def test_names_are_unique_also_where_they_cannot_be_seen(api: Api) -> None:
    path, other = made(api.admin), made(api.admin, "Other")
    assert api.admin.post(BASE, {"namespace": "Our::Names"}).status_code == 409
    assert api.admin.put(other, {"namespace": "Our::Names"}).status_code == 409
    assert api.admin.put(path, {"namespace": "our::names"}).status_code == 200  # names differ by case
    assert sorted(listed(api.admin)) == ["Other", "our::names"]


def test_what_is_protected_stays(api: Api) -> None:
    path = made(api.admin, **FULL, protected=True)
    inside = ("", "/objects", "/properties", "/tags", "/objects/pair", "/properties/cores", "/tags/first")
    for part in (*inside, "/resource_types/OS::Nova::Flavor"):
        assert api.admin.delete(path + part).status_code == 403, part
    assert api.admin.post(f"{path}/tags", {"tags": [{"name": "first"}]}).status_code == 403
    assert api.admin.post(f"{path}/tags", {"tags": [{"name": "third"}]}, headers=_APPEND).status_code == 201
    assert api.admin.put(f"{path}/tags/first", {"name": "renamed"}).status_code == 200
    assert len(api.admin.get(path).json["tags"]) == 3
    assert api.admin.put(path, {"namespace": "Our::Names"}).status_code == 200
    assert api.admin.delete(path).status_code == 204


_APPEND = {"X-Openstack-Append": "True"}


def test_a_deleted_namespace_leaves_nothing(api: Api) -> None:
    path = made(api.admin, **FULL)
    for part, left in (("objects", []), ("properties", {}), ("tags", [])):
        assert api.admin.delete(f"{path}/{part}").status_code == 204
        assert api.admin.get(f"{path}/{part}").json[part] == left
    assert api.admin.delete(path).status_code == 204
    assert api.admin.delete(path).status_code == 404
    made(api.admin)
    assert "objects" not in api.admin.get(path).json


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"objects": [{"name": "a"}, {"name": "a"}]}, 409),
        ({"tags": [{"name": "a"}, {"name": "A"}]}, 409),
        ({"resource_type_associations": [{"name": "X"}, {"name": "X"}]}, 409),
        ({"properties": {"a": {"title": "no type"}}}, 400),
        ({"objects": [{"description": "no name"}]}, 400),
        ({"tags": [{"name": "t" * 81}]}, 400),
        ({"description": "d" * 501}, 400),
        ({"visibility": "shared"}, 400),
        ({"unknown": 1}, 400),
        ({"self": "/here"}, 403),
        ({"created_at": "2020-01-01T00:00:00Z"}, 403),
    ],
)
def test_a_refused_part_leaves_nothing_of_the_namespace(api: Api, more: dict[str, Any], status: int) -> None:
    answer = api.admin.post(BASE, {"namespace": "Refused", **more})
    assert answer.status_code == status, answer.text
    assert api.admin.get(f"{BASE}/Refused").status_code == 404
    made(api.admin, "Refused")


@pytest.mark.parametrize("body", [[], {}, {"namespace": 1}, {"namespace": None}, {"namespace": "a", "protected": "no"}])
def test_bodies_that_are_no_namespace(api: Api, body: Any) -> None:
    assert api.admin.post(BASE, body).status_code == 400


@pytest.mark.parametrize("name", ["", " ", "\t", ".", "..", "a\nb", "a\x7f", "x" * 81, "\u2028"])
def test_names_that_no_path_can_hold(api: Api, name: str) -> None:
    assert api.admin.post(BASE, {"namespace": name}).status_code == 400
    path = made(api.admin)
    assert api.admin.post(f"{path}/objects", {"name": name}).status_code == 400
    assert api.admin.post(f"{path}/tags", {"tags": [{"name": name}]}).status_code == 400
    assert api.admin.post(f"{path}/resource_types", {"name": name}).status_code == 400
    one = {"title": "T", "type": "string"}
    assert api.admin.post(f"{path}/properties", {"name": name, **one}).status_code == 400
    assert api.admin.put(path, {"namespace": "Our::Names", "properties": {name: one}}).status_code == 400


@pytest.mark.parametrize("prefix", ["a\nb", "\x7f", "\u2029:"])
def test_prefixes_that_no_name_can_begin_with(api: Api, prefix: str) -> None:
    said = {"name": "OS::Glance::Image", "prefix": prefix}
    answer = api.admin.post(BASE, {"namespace": "a", "resource_type_associations": [said]})
    assert (answer.status_code, "prefix: " in message(answer)) == (400, True)
    assert api.admin.post(f"{made(api.admin)}/resource_types", said).status_code == 400


def test_a_list_shows_whole_pages_and_next_only_where_more_follow(make_api: MakeApi) -> None:
    api = make_api(api={"default_limit": 2})
    names = [f"N{number}" for number in range(4)]
    for name in names:
        made(api.admin, name, visibility="public", resource_type_associations=[{"name": "OS::Nova::Server"}])
    first = api.alice.get(f"{BASE}?sort_key=namespace&sort_dir=asc").json
    assert [one["namespace"] for one in first["namespaces"]] == names[:2]
    assert first["namespaces"][0]["resource_type_associations"][0]["name"] == "OS::Nova::Server"
    assert "properties" not in first["namespaces"][0]
    assert (first["first"], first["schema"]) == (
        f"{BASE}?sort_key=namespace&sort_dir=asc",
        "/v2/schemas/metadefs/namespaces",
    )
    assert "next" not in api.alice.get(first["next"]).json
    for key in ("created_at", "namespace", "display_name", "owner", "visibility", "protected", "updated_at", "id"):
        for direction in ("asc", "desc"):
            found = listed(api.alice, f"limit=1&sort_key={key}&sort_dir={direction}")
            assert sorted(found) == names, (key, direction)
    assert listed(api.alice, "limit=3") == list(reversed(names))
    assert api.alice.get(f"{BASE}?limit=0").json["namespaces"] == []


def test_filters_of_the_list(api: Api) -> None:
    made(api.admin, "Open", visibility="public", resource_type_associations=[{"name": "OS::Nova::Flavor"}])
    made(api.admin, "Closed", resource_type_associations=[{"name": "OS::Glance::Image"}])
    assert listed(api.admin, "visibility=private") == ["Closed"]
    assert listed(api.admin, "visibility=public") == ["Open"]
    assert listed(api.admin, "resource_types=OS::Nova::Flavor") == ["Open"]
    assert sorted(listed(api.admin, "resource_types=OS::Nova::Flavor,OS::Glance::Image")) == ["Closed", "Open"]
    assert listed(api.admin, "resource_types=OS::Other") == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("visibility=shared", 400),
        ("sort_dir=up", 400),
        ("sort_key=size", 400),
        ("limit=many", 400),
        ("limit=-1", 400),
        ("marker=unknown", 404),
    ],
)
def test_lists_that_cannot_be(api: Api, query: str, status: int) -> None:
    assert api.admin.get(f"{BASE}?{query}").status_code == status


def test_a_list_costs_one_statement_whatever_is_in_it(api: Api) -> None:
    counts = []
    for number in (1, 20):
        for one in range(number):
            made(api.admin, f"N{number}-{one}", **FULL)
        with statements(api.service.database) as said:
            assert api.alice.get(BASE).status_code == 200
        counts.append(len(said))
    assert counts == [1, 1]
    with statements(api.service.database) as said:
        assert api.alice.get(f"{BASE}/N1-0").status_code == 200
    assert len(said) == 3


def at_once(*acts: Callable[[], int]) -> list[int]:
    """What each act is answered, when all of them begin together."""
    start = threading.Barrier(len(acts))

    def after_the_others(act: Callable[[], int]) -> int:
        start.wait()
        return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return sorted(pool.map(after_the_others, acts))


def test_two_who_make_one_namespace(api: Api) -> None:
    def make() -> int:
        return api.admin.post(BASE, {"namespace": "One", **FULL}).status_code

    assert at_once(*[make] * 4) == [201, 409, 409, 409]
    assert len(api.admin.get(f"{BASE}/One").json["objects"]) == 1


def test_writers_at_once_pass_no_limit(make_api: MakeApi) -> None:
    limits = {"metadef_namespaces": 1, "metadef_resource_types": len(FIRST_RESOURCE_TYPES) + 1}
    api = make_api(policy={"file": str(OPEN_UP)}, quotas=limits)
    api.service.database.write(resource_types.forget_unused)  # what earlier tests left

    def make(person: Person, name: str, **fields: Any) -> Callable[[], int]:
        return lambda: person.post(BASE, {"namespace": name, **fields}).status_code

    def give(name: str, to: Person) -> Callable[[], int]:
        fields = {"namespace": name, "owner": to.project}
        return lambda: api.admin.put(f"{BASE}/{name}", fields).status_code

    def associate(person: Person, path: str, name: str) -> Callable[[], int]:
        body = {"name": f"{name}-{api.suffix}"}
        return lambda: person.post(f"{path}/resource_types", body).status_code

    assert at_once(*(make(api.alice, f"N{number}") for number in range(4))) == [201, 413, 413, 413]
    assert len(listed(api.alice)) == 1
    others = {name: make(api.admin, name, owner=f"{name}-{api.suffix}") for name in ("G0", "G1", "G2")}
    assert at_once(*others.values()) == [201, 201, 201]
    assert at_once(*(give(name, api.bob) for name in others)) == [200, 413, 413]
    paths = [(api.alice, f"{BASE}/{listed(api.alice)[0]}"), (api.bob, f"{BASE}/{listed(api.bob)[0]}")]
    paths.append((api.carl, made(api.carl, "C")))
    assert at_once(*(associate(*each, str(number)) for number, each in enumerate(paths))) == [201, 413, 413]


def test_types_of_resources(api: Api) -> None:
    known = [one["name"] for one in api.rita.get("/v2/metadefs/resource_types").json["resource_types"]]
    assert {"OS::Glance::Image", "OS::Nova::Flavor", "OS::Cinder::Volume"} <= set(known)
    path = made(api.admin, visibility="public")
    body = {"name": f"OS::New::{api.suffix}", "prefix": "new:"}
    answer = api.admin.post(f"{path}/resource_types", body)
    assert (answer.status_code, answer.json["prefix"]) == (201, "new:")
    assert "properties_target" not in answer.json
    assert api.admin.post(f"{path}/resource_types", body).status_code == 409
    [said] = api.rita.get(f"{path}/resource_types").json["resource_type_associations"]
    assert said == answer.json
    assert body["name"] in api.rita.get("/v2/metadefs/resource_types").text
    assert api.admin.delete(f"{path}/resource_types/{body['name']}").status_code == 204
    assert api.admin.delete(f"{path}/resource_types/{body['name']}").status_code == 404
    assert body["name"] in api.rita.get("/v2/metadefs/resource_types").text


def test_limits_are_settings(make_api: MakeApi) -> None:
    api = make_api(quotas={"metadef_namespaces": 2, "metadef_definitions": 2}, api={"max_body": 2048})
    path = made(api.admin, "A")
    made(api.admin, "B")
    answer = api.admin.post(BASE, {"namespace": "C"})
    assert (answer.status_code, "limit of 2" in message(answer)) == (413, True)
    made(api.admin, "C", owner=api.bob.project)
    assert api.admin.put(f"{BASE}/C", {"namespace": "C"}).status_code == 413
    for name in ("x", "y"):
        assert api.admin.post(f"{path}/objects", {"name": name}).status_code == 201
        assert api.admin.post(f"{path}/resource_types", {"name": name}).status_code == 201
    assert api.admin.post(f"{path}/objects", {"name": "z"}).status_code == 413
    assert api.admin.post(f"{path}/resource_types", {"name": "z"}).status_code == 413
    assert api.admin.put(f"{path}/objects/x", {"name": "z", "description": "d" * 1500}).status_code == 200
    assert api.admin.put(f"{path}/objects/y", {"name": "y", "description": "d" * 1500}).status_code == 413
    assert api.admin.put(f"{path}/objects/z", {"name": "z", "description": "d" * 1400}).status_code == 200
    three = {"tags": [{"name": name} for name in "abc"]}
    assert api.admin.post(f"{path}/tags", three).status_code == 413
    assert api.admin.get(f"{path}/tags").json["tags"] == []


def test_types_of_resources_are_limited_for_strangers(make_api: MakeApi) -> None:
    """They outlast the namespaces that name them: a limit of each project would bound nothing."""
    api = make_api(policy={"file": str(OPEN_UP)}, quotas={"metadef_resource_types": len(FIRST_RESOURCE_TYPES) + 1})
    api.service.database.write(resource_types.forget_unused)  # what earlier tests left

    def wanted(*names: str) -> dict[str, Any]:
        return {"resource_type_associations": [{"name": f"{name}-{api.suffix}"} for name in names]}

    path = made(api.alice, "A", **wanted("a"))
    answer = api.alice.post(BASE, {"namespace": "B", **wanted("a", "b")})
    assert (answer.status_code, "types of resources" in message(answer)) == (413, True)
    assert api.alice.get(f"{BASE}/B").status_code == 404
    assert api.alice.post(f"{path}/resource_types", {"name": f"b-{api.suffix}"}).status_code == 413
    assert api.alice.post(f"{path}/resource_types", {"name": "OS::Nova::Server"}).status_code == 201
    assert api.admin.post(f"{path}/resource_types", {"name": f"b-{api.suffix}"}).status_code == 201
    assert api.alice.delete(path).status_code == 204
    made(api.alice, "C", **wanted("c"))  # nobody is in need of the others any more
    names = {one["name"] for one in api.alice.get("/v2/metadefs/resource_types").json["resource_types"]}
    assert {f"c-{api.suffix}", *FIRST_RESOURCE_TYPES} <= names
    assert f"a-{api.suffix}" not in names


def test_names_with_what_paths_are_made_of(api: Api) -> None:
    name = "a/b?c#d%2Fe ü :f"
    link = made(api.admin, name, **FULL)
    assert link == f"{BASE}/a%2Fb%3Fc%23d%252Fe%20%C3%BC%20:f"
    assert api.admin.get(link).json["namespace"] == name
    assert api.admin.post(f"{link}/tags/x%2Fy%25").json["name"] == "x/y%"
    assert api.admin.get(f"{link}/tags/x%2Fy%25").status_code == 200
    assert api.admin.get(f"{link}/tags/x/y%25").status_code == 404
    assert api.admin.put(f"{link}/objects/pair", {"name": "p/q"}).json["self"] == f"{link}/objects/p%2Fq"
    assert api.admin.delete(f"{link}/objects/p%2Fq").status_code == 204
    assert api.admin.delete(link).status_code == 204


def test_names_that_clients_do_not_quote(api: Api) -> None:
    for name in unquoted.NAMESPACES:
        made(api.admin, name, **unquoted.CONTENTS)

    def ask(method: str, path: str, body: Any) -> tuple[int, Any]:
        answer = api.admin.call(method, path, body)
        return answer.status_code, answer.json if answer.content else None

    rows = unquoted.BROKEN_THERE + unquoted.ROWS
    assert unquoted.answers(ask, rows) == list(rows)
