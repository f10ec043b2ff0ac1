"""Images' properties, held against the metadata definitions that bind their owner."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.lifecycle.metadefs import catalogue, files
from tests.integration.imageservice.api.metadefs.shelf import OPEN_UP, MakeApi, made, statements
from tests.integration.imageservice.api.world import Api, Person, message

RULES: dict[str, Any] = {
    "visibility": "public",
    "properties": {
        "cores": {"title": "Cores", "type": "integer", "minimum": 1},
        "mode": {"title": "Mode", "type": "string", "enum": ["a", "b"]},
        "on": {"title": "On", "type": "boolean"},
        "id": {"title": "Id", "type": "string", "pattern": "^[0-9a-f]{4}$"},
        "many": {"title": "Many", "type": "array", "items": {"type": "string", "enum": ["x"]}},
    },
    "objects": [{"name": "pair", "properties": {"ratio": {"title": "Ratio", "type": "number", "maximum": 2}}}],
    "resource_type_associations": [{"name": "OS::Glance::Image", "prefix": "q_"}],
}
WRONG = {"q_cores": "none", "q_mode": "c", "q_on": "yes", "q_id": "xyz", "q_ratio": "2.5"}
RIGHT = {"q_cores": "2", "q_mode": "a", "q_on": "true", "q_id": "00ff", "q_ratio": "1e0", "q_many": "x,y"}
REFUSE = {"metadefs": {"validate": "refuse"}}


@pytest.fixture
def refusing(make_api: MakeApi) -> Api:
    return make_api(**REFUSE)


def refused(person: Person, **properties: str) -> str:
    """What creating an image with these properties is answered, empty when it is taken."""
    answer = person.post("/v2/images", {"name": "i", **properties})
    assert answer.status_code in (201, 400), answer.text
    return message(answer) if answer.status_code == 400 else ""


def set_to(person: Person, path: str, name: str, value: str, op: str = "add") -> int:
    return person.patch(path, [{"op": op, "path": f"/{name}", "value": value}]).status_code


def test_it_is_off_unless_it_is_set(api: Api) -> None:
    made(api.admin, **RULES)
    assert refused(api.alice, **WRONG) == ""


def test_a_wrong_value_is_refused_and_told_with_what_would_be_right(refusing: Api) -> None:
    made(refusing.admin, **RULES)
    assert refused(refusing.alice, **RIGHT) == ""
    said = refused(refusing.alice, **WRONG)
    for text in (
        "Property q_cores: 'none' is not a whole number from 1 (Our::Names)",
        "Property q_mode: 'c' is not one of a, b (Our::Names)",
        "Property q_on: 'yes' is not one of true, false",
        "Property q_id: 'xyz' is not text that matches ^[0-9a-f]{4}$",
        "Property q_ratio: '2.5' is not a number to 2",
    ):
        assert text in said


def test_names_without_the_prefix_and_unknown_ones_pass(refusing: Api) -> None:
    made(refusing.admin, **RULES)
    assert refused(refusing.alice, cores="none", mine="anything") == ""


def test_definitions_for_other_resources_do_not_count(refusing: Api) -> None:
    made(refusing.admin, **{**RULES, "resource_type_associations": [{"name": "OS::Nova::Flavor", "prefix": "q_"}]})
    assert refused(refusing.alice, **WRONG) == ""


def test_one_of_several_definitions_is_enough(refusing: Api) -> None:
    made(refusing.admin, **RULES)
    path = made(refusing.admin, "Wider", **{**RULES, "properties": {}, "objects": []})
    assert refused(refusing.alice, q_mode="c")
    assert refusing.admin.post(f"{path}/properties", {"name": "mode", "title": "M", "type": "string", "enum": ["c"]})
    assert refused(refusing.alice, q_mode="c") == ""
    assert "one of a, b (Our::Names); or one of c (Wider)" in refused(refusing.alice, q_mode="d")


def test_a_patch_answers_for_what_it_changes_alone(make_api: MakeApi) -> None:
    before = make_api()
    path = before.alice.create(q_mode="old", q_cores="2")
    after = make_api(**REFUSE)
    made(after.admin, **RULES)
    alice = after.alice
    alice = next(person for name, person in after.people.items() if name == "alice")
    assert set_to(alice, path, "mine", "1") == 200
    assert set_to(alice, path, "q_mode", "old", "replace") == 200  # what it was
    answer = alice.patch(path, [{"op": "replace", "path": "/q_mode", "value": "new"}])
    assert answer.status_code == 400 and "'new' is not one of a, b" in message(answer)
    assert set_to(alice, path, "q_cores", "0", "replace") == 400
    assert alice.get(path).json["q_cores"] == "2"
    assert alice.patch(path, [{"op": "remove", "path": "/q_mode"}]).status_code == 200
    assert set_to(alice, path, "q_mode", "old") == 400


def test_a_changed_definition_holds_from_the_next_request_on(refusing: Api) -> None:
    path = made(refusing.admin, **RULES)
    assert refused(refusing.alice, q_mode="c")
    wider = {"name": "mode", "title": "Mode", "type": "string", "enum": ["c"]}
    assert refusing.admin.put(f"{path}/properties/mode", wider).status_code == 200
    assert refused(refusing.alice, q_mode="c") == ""
    assert refused(refusing.alice, q_mode="a")
    assert refusing.admin.delete(f"{path}/resource_types/OS::Glance::Image").status_code == 204
    assert refused(refusing.alice, q_mode="a") == ""
    again = {"name": "OS::Glance::Image", "prefix": "z_"}
    assert refusing.admin.post(f"{path}/resource_types", again).status_code == 201
    assert refused(refusing.alice, z_mode="a")
    assert refusing.admin.delete(path).status_code == 204
    assert refused(refusing.alice, z_mode="a") == ""


def test_strangers_definitions_bind_nobody_else(make_api: MakeApi) -> None:
    """With the guide's rules that open everything up, anybody's public definition would stop everybody's images."""
    api = make_api(**REFUSE, policy={"file": str(OPEN_UP)})
    made(api.bob, **{**RULES, "protected": True})
    assert refused(api.bob, **WRONG)
    assert refused(api.alice, **WRONG) == ""


def test_whatever_a_stranger_changes_binds_nobody_but_its_owner_any_more(make_api: MakeApi) -> None:
    api = make_api(**REFUSE, policy={"file": str(OPEN_UP)})
    path = made(api.admin, **RULES)
    assert refused(api.alice, q_mode="c")
    trap = {"name": "trap", "title": "Trap", "type": "string", "enum": ["never"]}
    assert api.bob.post(f"{path}/properties", trap).status_code == 201
    assert refused(api.alice, q_trap="x") == ""
    mine = made(api.alice, "Mine", **RULES)
    assert refused(api.alice, q_mode="c") and refused(api.bob, q_mode="c") == ""
    assert api.bob.post(f"{mine}/properties", trap).status_code == 201
    assert refused(api.alice, q_trap="x") == ""


def test_whoever_may_only_tag_ends_no_definition(make_api: MakeApi, tmp_path: Path) -> None:
    file = tmp_path / "tags.yaml"
    file.write_text(
        "".join(f"{action}: ''\n" for action in ("add_metadef_tag", "add_metadef_tags", "modify_metadef_tag"))
        + "delete_metadef_tag: ''\ndelete_metadef_tags: ''\n"
    )
    api = make_api(**REFUSE, policy={"file": str(file)})
    path = made(api.admin, **RULES)
    assert api.bob.post(f"{path}/tags", {"tags": [{"name": "a"}, {"name": "b"}]}).status_code == 201
    assert api.bob.post(f"{path}/tags/c").status_code == 201
    assert api.bob.put(f"{path}/tags/a", {"name": "d"}).status_code == 200
    assert api.bob.delete(f"{path}/tags/b").status_code == 204
    assert refused(api.alice, q_mode="c")


@pytest.mark.parametrize(
    ("fields", "binds_alice", "binds_bob"),
    [
        ({}, True, True),  # the administrator's own
        ({"visibility": "private"}, False, False),
        ({"owner": "alice"}, True, False),
        ({"owner": "alice", "visibility": "private"}, True, False),
        ({"owner": "alice", "protected": True}, True, True),
        ({"owner": "alice", "protected": True, "visibility": "private"}, True, False),
    ],
)
def test_whose_definitions_bind_whom(refusing: Api, fields: dict[str, Any], binds_alice: bool, binds_bob: bool) -> None:
    if "owner" in fields:
        fields = {**fields, "owner": refusing.alice.project}
    made(refusing.admin, **{**RULES, **fields})
    assert bool(refused(refusing.alice, q_mode="c")) is binds_alice
    assert bool(refused(refusing.bob, q_mode="c")) is binds_bob


def test_warnings_are_told_and_nothing_is_refused(make_api: MakeApi, caplog: pytest.LogCaptureFixture) -> None:
    api = make_api(metadefs={"validate": "warn"})
    made(api.admin, **RULES)
    with caplog.at_level(logging.WARNING, "imageservice.properties"):
        answer = api.alice.post("/v2/images", {"q_mode": 'c"\\\n', "mine": "ü", "q_cores": "1"})
    assert answer.status_code == 201
    said = answer.headers["Warning"]
    assert "299 -" in said and "Property q_mode:" in said and "is not one of a, b" in said and "\n" not in said
    assert "Property mine: no metadata definition knows it" in said and "q_cores" not in said
    assert "q_mode" in caplog.text and "mine" in caplog.text
    path = f"/v2/images/{answer.json['id']}"
    answer = api.alice.patch(path, [{"op": "replace", "path": "/q_cores", "value": "0"}])
    assert answer.status_code == 200 and "'0' is not a whole number from 1" in answer.headers["Warning"]
    answer = api.alice.patch(path, [{"op": "replace", "path": "/name", "value": "n"}])
    assert "Warning" not in answer.headers


@pytest.mark.parametrize("also", [False, True])
def test_services_of_the_cloud_are_warned(make_api: MakeApi, also: bool) -> None:
    api = make_api(metadefs={"validate": "refuse", "refuse_services": also})
    made(api.admin, **RULES)
    answer = api.nova.post("/v2/images", {"q_mode": "c"})
    assert answer.status_code == (400 if also else 201), answer.text
    assert ("Warning" in answer.headers) is not also


def test_old_clients_are_answered_the_same(make_api: MakeApi) -> None:
    api = make_api(**REFUSE, api={"version_1": True})
    made(api.admin, **RULES)
    headers = {"x-image-meta-name": "i", "x-image-meta-property-q_mode": "c"}
    answer = api.alice.call("POST", "/v1/images", None, headers=headers)
    assert answer.status_code == 400 and "'c' is not one of a, b" in answer.text


def test_a_pattern_without_bounds_is_refused_when_it_is_written(api: Api) -> None:
    path = made(api.admin)
    for pattern in (r"(a)\1", "(?=a)", "["):
        one = {"name": "p", "title": "P", "type": "string", "pattern": pattern}
        answer = api.admin.post(f"{path}/properties", one)
        assert answer.status_code == 400 and "pattern" in message(answer), answer.text
        inner = {"name": "o", "properties": {"p": {key: one[key] for key in ("title", "type", "pattern")}}}
        answer = api.admin.post(f"{path}/objects", inner)
        assert answer.status_code == 400 and "properties.p: pattern" in message(answer), answer.text
    assert api.admin.get(path).json.get("properties") is None


@pytest.fixture
def with_catalogue(refusing: Api) -> Iterator[Api]:
    database = refusing.service.database
    catalogue.load(database)
    yield refusing
    files.unload(refusing.service)
    database.write(lambda connection: connection.execute(tables.metadef_defaults.delete()))


def test_the_catalogue_binds_everybody(with_catalogue: Api) -> None:
    bob = with_catalogue.bob
    assert "'sev' is not one of amd-sev, amd-sev-es" in refused(bob, hw_mem_encryption_model="sev")
    assert "hw_disk_bus: 'virtoi' is not one of scsi, virtio" in refused(bob, hw_disk_bus="virtoi")
    assert refused(bob, hw_disk_bus="virtio", os_distro="debian", hw_qemu_guest_agent="yes", team="core") == ""


def test_a_request_asks_for_the_count_of_changes_and_no_more(refusing: Api) -> None:
    made(refusing.admin, **RULES)
    refused(refusing.alice, **RIGHT)
    with statements(refusing.service.database) as said:
        refused(refusing.alice, **RIGHT)
    assert [one for one in said if "metadef" in one] == []
    assert len([one for one in said if "catalog_sequences" in one and one.startswith("SELECT")]) == 1
    with statements(refusing.service.database) as said:
        refused(refusing.alice)
    assert [one for one in said if "catalog_sequences" in one] == []
