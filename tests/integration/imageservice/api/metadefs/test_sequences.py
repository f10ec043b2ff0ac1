"""Any sequence of calls by two projects and an administrator."""

from __future__ import annotations

from typing import Any

import jsonschema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from pipeline.imageservice.catalog.database import tables
from tests.integration.imageservice.api.metadefs.shelf import BASE, OPEN_UP, MakeApi
from tests.integration.imageservice.api.world import Api, Person

_NAMES = st.sampled_from(["A", "B", "a/b", "ü ü"])
_INNER = st.sampled_from(["x", "X", "y", "é:%"])
_PROPERTY = st.fixed_dictionaries(
    {"title": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)},
    optional={"description": st.just("d"), "enum": st.lists(st.integers() | st.none(), max_size=2)},
).map(lambda one: {"type": "string", **one})
_CONTENTS = st.fixed_dictionaries(
    {},
    optional={
        "visibility": st.sampled_from(["public", "private"]),
        "protected": st.booleans(),
        "properties": st.dictionaries(_INNER, _PROPERTY, max_size=2),
        "objects": st.lists(st.fixed_dictionaries({"name": _INNER}, optional={"required": st.just(["x"])}), max_size=2),
        "tags": st.lists(st.fixed_dictionaries({"name": _INNER}), max_size=2),
        "resource_type_associations": st.lists(
            st.fixed_dictionaries({"name": _INNER}, optional={"prefix": st.just("p:")}), max_size=2
        ),
    },
)
_PARTS = st.sampled_from(["objects", "properties", "tags", "resource_types"])
_STEPS = st.tuples(
    st.sampled_from(["alice", "bob", "admin"]),
    st.sampled_from(["create", "change", "delete", "add", "replace", "remove", "clear"]),
    _NAMES,
    _NAMES,
    _PARTS,
    _INNER,
    _INNER,
    _CONTENTS,
)


def _quoted(name: str) -> str:
    return name.replace("%", "%25").replace("/", "%2F").replace(" ", "%20")


def _do(api: Api, step: tuple[Any, ...]) -> int:
    who, act, name, other, part, inner, new, contents = step
    person: Person = getattr(api, who)
    path = f"{BASE}/{_quoted(name)}"
    body = {"name": new, **({"title": "T", "type": "string"} if part == "properties" else {})}
    fields = {key: contents[key] for key in ("visibility", "protected") if key in contents}
    calls: dict[str, tuple[str, str, Any]] = {
        "create": ("POST", BASE, {"namespace": name, **contents}),
        "change": ("PUT", path, {"namespace": other, **fields}),
        "delete": ("DELETE", path, None),
        "add": ("POST", f"{path}/{part}", {"tags": [body]} if part == "tags" else body),
        "replace": ("PUT", f"{path}/{part}/{_quoted(inner)}", body),
        "remove": ("DELETE", f"{path}/{part}/{_quoted(inner)}", None),
        "clear": ("DELETE", f"{path}/{part}", None),
    }
    method, target, sent = calls[act]
    return person.call(method, target, sent).status_code


def _orphans(api: Api) -> int:
    known = select(tables.metadef_namespaces.c.id)
    with api.service.database.read() as connection:
        return sum(
            connection.execute(
                select(func.count()).select_from(table).where(table.c.namespace_id.not_in(known))
            ).scalar_one()
            for table in (tables.metadef_definitions, tables.metadef_associations)
        )


def _check(api: Api, schemas: dict[str, Any]) -> None:
    everything = {one["namespace"]: one for one in api.admin.get(f"{BASE}?limit=1000").json["namespaces"]}
    for person in (api.alice, api.bob):
        seen = {one["namespace"] for one in person.get(BASE).json["namespaces"]}
        may = {
            name for name, one in everything.items() if one["visibility"] == "public" or one["owner"] == person.project
        }
        assert seen == may
        for name, one in everything.items():
            shown = person.get(one["self"])
            assert shown.status_code == (200 if name in may else 404)
            for part in ("objects", "properties", "tags", "resource_types"):
                assert person.get(f"{one['self']}/{part}").status_code == shown.status_code
    for one in everything.values():
        document = api.admin.get(one["self"]).json
        jsonschema.validate(document, schemas["namespace"])
        for item in document.get("objects", []):
            jsonschema.validate(api.admin.get(item["self"]).json, schemas["object"])
        jsonschema.validate(api.admin.get(f"{one['self']}/properties").json, schemas["properties"])
        for tag in document.get("tags", []):
            jsonschema.validate(api.admin.get(f"{one['self']}/tags/{_quoted(tag['name'])}").json, schemas["tag"])
        said = api.admin.get(f"{one['self']}/resource_types").json
        jsonschema.validate(said, schemas["resource_types"])


def test_nothing_is_lost_leaked_or_undescribed(make_api: MakeApi) -> None:
    api = make_api(policy={"file": str(OPEN_UP)})
    kinds = ("namespace", "object", "properties", "tag", "resource_types")
    schemas = {kind: api.admin.get(f"/v2/schemas/metadefs/{kind}").json for kind in kinds}

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(st.lists(_STEPS, min_size=1, max_size=12))
    def run(steps: list[tuple[Any, ...]]) -> None:
        api.service.database.write(lambda connection: connection.execute(tables.metadef_namespaces.delete()))
        for step in steps:
            assert _do(api, step) in (200, 201, 204, 400, 403, 404, 405, 409), step
        assert _orphans(api) == 0
        _check(api, schemas)

    run()


def test_a_whole_walk_reaches_every_act(make_api: MakeApi) -> None:
    """The acts above do something when they are done in order: the sequences are not all refusals."""
    api = make_api(policy={"file": str(OPEN_UP)})
    contents = {"visibility": "public", "objects": [{"name": "x"}]}
    walk = [
        ("alice", "create", "A", "A", "objects", "x", "x", contents),
        ("alice", "change", "A", "a/b", "objects", "x", "x", {"visibility": "public"}),
        ("bob", "add", "a/b", "A", "properties", "x", "y", {}),
        ("bob", "replace", "a/b", "A", "objects", "x", "é:%", {}),
        ("alice", "remove", "a/b", "A", "objects", "é:%", "x", {}),
        ("admin", "clear", "a/b", "A", "properties", "x", "x", {}),
        ("alice", "delete", "a/b", "A", "objects", "x", "x", {}),
    ]
    assert [_do(api, step) for step in walk] == [201, 200, 201, 200, 204, 204, 204]
