"""Who may see and change metadata definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.imageservice.api.metadefs.shelf import BASE, FULL, LOCK_DOWN, OPEN_UP, MakeApi, listed, made
from tests.integration.imageservice.api.world import Api

_CALLS: list[tuple[str, str, Any]] = [
    ("PUT", "", {"namespace": "Our::Names"}),
    ("DELETE", "/objects", None),
    ("DELETE", "/properties", None),
    ("DELETE", "/tags", None),
    ("POST", "/objects", {"name": "o"}),
    ("PUT", "/objects/pair", {"name": "o"}),
    ("DELETE", "/objects/pair", None),
    ("POST", "/properties", {"name": "p", "title": "P", "type": "string"}),
    ("PUT", "/properties/cores", {"name": "p", "title": "P", "type": "string"}),
    ("DELETE", "/properties/cores", None),
    ("POST", "/tags", {"tags": []}),
    ("POST", "/tags/t", None),
    ("PUT", "/tags/first", {"name": "t"}),
    ("DELETE", "/tags/first", None),
    ("POST", "/resource_types", {"name": "X"}),
    ("DELETE", "/resource_types/OS::Nova::Flavor", None),
    ("DELETE", "", None),
]
_SHOWN = [
    "",
    "/objects",
    "/objects/pair",
    "/properties",
    "/properties/cores",
    "/tags",
    "/tags/first",
    "/resource_types",
]


@pytest.mark.parametrize("visibility", ["public", "private"])
def test_what_cannot_be_seen_is_not_there_and_what_can_is_not_changed(api: Api, visibility: str) -> None:
    path = made(api.admin, **{**FULL, "visibility": visibility}, owner=api.alice.project)
    is_public = visibility == "public"
    before = api.admin.get(path).json
    for who, sees in ((api.alice, True), (api.rita, True), (api.bob, is_public)):
        for part in _SHOWN:
            assert who.get(path + part).status_code == (200 if sees else 404), (who.name, part)
        for method, part, body in _CALLS:
            assert who.call(method, path + part, body).status_code == (403 if sees else 404), (who.name, method, part)
        assert listed(who) == (["Our::Names"] if sees else [])
    assert api.admin.get(path).json == before
    assert api.alice.post(BASE, {"namespace": "Mine"}).status_code == 403
    assert api.nobody.get(path).status_code == 401
    for method, part, body in _CALLS:
        assert api.admin.call(method, path + part, body).status_code in (200, 201, 204, 404), (method, part)


def test_pages_are_full_whatever_the_policy_hides(make_api: MakeApi, tmp_path: Path) -> None:
    file = tmp_path / "hide.yaml"
    file.write_text("get_metadef_namespace: 'role:admin or True:%(protected)s'\n")
    api = make_api(policy={"file": str(file)})
    for number in range(9):
        made(api.admin, f"N{number}", visibility="public", protected=number % 4 == 0)
    first = api.alice.get(f"{BASE}?limit=2&sort_key=namespace&sort_dir=asc").json
    assert [one["namespace"] for one in first["namespaces"]] == ["N0", "N4"]
    last = api.alice.get(first["next"]).json
    assert [one["namespace"] for one in last["namespaces"]] == ["N8"]
    assert "next" not in last
    assert api.alice.get(f"{BASE}?marker=N1").status_code == 404


def test_the_guides_lock_down(make_api: MakeApi) -> None:
    api = make_api(policy={"file": str(LOCK_DOWN)})
    assert api.alice.post(BASE, {"namespace": "Mine"}).status_code == 403
    path = made(api.admin, **FULL)
    for method, part, body in _CALLS:
        assert api.alice.call(method, path + part, body).status_code == 403, (method, part)
    assert api.alice.get(path).json["properties"]
    private = made(api.admin, "Secret")
    assert api.alice.get(private).status_code == 404


def test_the_guides_opening_up(make_api: MakeApi) -> None:
    """Writes are open, but nobody sees another's private names, nor gives or takes what is not theirs."""
    api = make_api(policy={"file": str(OPEN_UP)})
    mine = made(api.alice, **{**FULL, "visibility": "private"})
    assert api.alice.get(mine).json["owner"] == api.alice.project
    for method, part, body in _CALLS:
        assert api.bob.call(method, mine + part, body).status_code == 404, (method, part)
    assert api.bob.post(BASE, {"namespace": "Our::Names"}).status_code == 409
    assert api.bob.post(BASE, {"namespace": "Given", "owner": api.alice.project}).status_code == 403
    everybodys = made(api.alice, "Open", visibility="public")
    assert api.bob.post(f"{everybodys}/tags/t").status_code == 201
    answer = api.bob.put(everybodys, {"namespace": "Open", "visibility": "public", "description": "edited"})
    assert (answer.status_code, answer.json["owner"]) == (200, api.alice.project)
    taken = {"namespace": "Open", "owner": api.carl.project}
    assert api.bob.put(everybodys, taken).status_code == 403
    for method, part, body in _CALLS:
        assert api.alice.call(method, mine + part, body).status_code in (200, 201, 204, 404), (method, part)


def test_without_a_token_public_ones_are_all_there_is(make_api: MakeApi) -> None:
    api = make_api(allow_anonymous=True)
    path = made(api.admin, **FULL)
    made(api.admin, "Secret")
    assert listed(api.nobody) == ["Our::Names"]
    assert api.nobody.get(path).status_code == 200
    assert api.nobody.get(f"{BASE}/Secret").status_code == 404
    assert api.nobody.post(f"{path}/tags/t").status_code == 403
