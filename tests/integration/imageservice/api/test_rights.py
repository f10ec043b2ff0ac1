"""Who may do what: the default roles, operators' policy files, protected properties."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from tests.integration.imageservice.api.world import Api, image_id

NAME = [{"op": "replace", "path": "/name", "value": "x"}]
DATA = {"Content-Type": "application/octet-stream"}


@pytest.mark.parametrize(
    ("visibility", "who", "expected"),
    [
        ("private", "bob", 404),
        ("shared", "bob", 404),
        ("community", "bob", 403),
        ("public", "bob", 403),
        ("private", "rita", 403),
        ("public", "rita", 403),
        ("private", "anna", 0),
        ("public", "admin", 0),
        ("private", "admin", 0),
    ],
)
def test_writing(api: Api, visibility: str, who: str, expected: int) -> None:
    path = api.admin.active(owner=api.alice.project, visibility=visibility)
    person = getattr(api, who)
    answers = {
        "patch": person.patch(path, NAME),
        "nothing": person.patch(path, []),
        "tag": person.put(f"{path}/tags/t"),
        "upload": person.call("PUT", f"{path}/file", data=b"x", headers=DATA),
        "deactivate": person.post(f"{path}/actions/deactivate"),
        "reactivate": person.post(f"{path}/actions/reactivate"),
        "delete": person.delete(path),
    }
    if expected:
        assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, expected)
    else:
        assert {answer.status_code for name, answer in answers.items() if name != "upload"} <= {200, 204}
        assert answers["upload"].status_code == 409


def test_reading(api: Api) -> None:
    own = api.alice.active(visibility="private")
    public = api.admin.active(visibility="public", owner=api.alice.project)
    for path in (own, public):
        assert api.rita.get(path).status_code == 200
        assert api.rita.get(f"{path}/file").status_code == 403
        assert api.anna.get(f"{path}/file").status_code == 200
    assert api.bob.get(f"{public}/file").status_code == 200
    assert api.bob.get(f"{own}/file").status_code == 404


def test_an_image_that_is_nobodys_is_for_all_to_see(api: Api) -> None:
    path = api.admin.create(owner=None, visibility="private")
    assert api.bob.get(path).status_code == 200
    assert api.bob.patch(path, NAME).status_code == 403


def test_a_policy_file(make_api: Callable[..., Api], tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(
        '"delete_image": "role:admin"\n'
        '"publicize_image": "role:member"\n'
        '"get_image": "role:admin or (role:reader and not \'secret\':%(level)s)"\n'
        '"get_images": "rule:looks"\n'
        '"looks": "role:reader"\n'
        '"modify_image": "project_id:%(owner)s and user_id:alice"\n'
    )
    api = make_api(policy={"file": str(file)})
    path = api.alice.create(visibility="public", level="open")
    assert api.alice.delete(path).status_code == 403
    assert api.alice.patch(path, NAME).status_code == 200
    assert api.anna.patch(path, NAME).status_code == 403
    assert api.admin.patch(path, NAME).status_code == 403
    secret = api.alice.create(visibility="public", level="secret")
    assert api.alice.get(secret).status_code == 404
    assert api.alice.delete(secret).status_code == 404
    assert api.alice.ids() == [path.rpartition("/")[2]]
    assert len(api.admin.ids(f"owner={api.alice.project}")) == 2


def test_a_policy_file_is_read_again(
    make_api: Callable[..., Api], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.imageservice.access.policy._SECONDS_BETWEEN_LOOKS", 0)
    file = tmp_path / "policy.yaml"
    file.write_text('"add_image": "!"\n')
    api = make_api(policy={"file": str(file)})
    assert api.alice.post("/v2/images", {}).status_code == 403
    file.write_text('"add_image": "@" # and more of it, so that its size differs\n')
    assert api.alice.post("/v2/images", {}).status_code == 201


def test_a_policy_file_that_cannot_be_used(make_api: Callable[..., Api], tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="there is no file"):
        make_api(policy={"file": str(tmp_path / "missing")})
    file = tmp_path / "policy.yaml"
    file.write_text("{{{")
    with pytest.raises(PipelineError, match="policy file cannot be used"):
        make_api(policy={"file": str(file)})


PROTECTIONS = """
[^x_owner_.*]
create = admin,member
read = admin,member
update = admin,member
delete = admin

[x_none_.*]
create = !
read = !
update = !
delete = !

[spl_.*]
create = admin
read = @
update = admin
delete = admin

[open.*]
create = @
read = @
update = @
delete = @
"""


def test_protected_properties(make_api: Callable[..., Api], tmp_path: Path) -> None:
    (tmp_path / "protections.conf").write_text(PROTECTIONS)
    api = make_api(policy={"property_protections": str(tmp_path / "protections.conf")})
    path = api.alice.create(x_owner_a="1", open_a="1")
    for name in ("spl_a", "x_none_a", "unlisted"):
        assert api.alice.post("/v2/images", {name: "1"}).status_code == 403
        assert api.alice.patch(path, [{"op": "add", "path": f"/{name}", "value": "1"}]).status_code == 403
    assert api.admin.patch(path, [{"op": "add", "path": "/spl_a", "value": "1"}]).status_code == 200
    assert api.alice.get(path).json["spl_a"] == "1"
    assert api.alice.patch(path, [{"op": "replace", "path": "/spl_a", "value": "2"}]).status_code == 403
    assert api.alice.patch(path, [{"op": "remove", "path": "/spl_a"}]).status_code == 403
    assert api.alice.patch(path, [{"op": "replace", "path": "/x_owner_a", "value": "2"}]).status_code == 200
    assert api.alice.patch(path, [{"op": "remove", "path": "/x_owner_a"}]).status_code == 403
    assert "x_owner_a" not in api.rita.get(path).json
    assert api.rita.get(path).json["open_a"] == "1"
    assert [set(image) & {"x_owner_a", "open_a"} for image in api.rita.get("/v2/images").json["images"]] == [{"open_a"}]


def test_a_property_nobody_may_read_is_not_there(make_api: Callable[..., Api], api: Api, tmp_path: Path) -> None:
    path = api.alice.create(x_none_a="secret")
    (tmp_path / "protections.conf").write_text(PROTECTIONS)
    narrow = make_api(policy={"property_protections": str(tmp_path / "protections.conf")})
    assert "x_none_a" not in narrow.admin.get(path).json
    assert narrow.admin.patch(path, [{"op": "remove", "path": "/x_none_a"}]).status_code == 409
    assert api.alice.get(path).json["x_none_a"] == "secret"


def test_an_unreadable_property_is_absent_on_every_way(make_api: Callable[..., Api], api: Api, tmp_path: Path) -> None:
    """Its value can be confirmed neither by filters nor by what changing it answers."""
    path = api.alice.create(x_none_a="secret", open_a="1")
    (tmp_path / "protections.conf").write_text(
        PROTECTIONS + "\n[deposit.*]\ncreate = @\nread = !\nupdate = !\ndelete = @\n"
    )
    narrow = make_api(policy={"property_protections": str(tmp_path / "protections.conf")}, api={"version_1": True})
    assert api.alice.ids("x_none_a=secret") == [image_id(path)]
    for query in ("x_none_a=secret", "x_none_a=other", "x_none_a=secret&open_a=1", "x_none_a=secret&tag=x"):
        assert narrow.alice.ids(query) == []
        assert narrow.admin.ids(f"owner={narrow.alice.project}&{query}") == []
    assert narrow.alice.ids("open_a=1") == [image_id(path)]
    for value in ("secret", "other"):
        assert narrow.alice.get(f"/v1/images?property-x_none_a={value}").json["images"] == []
        assert narrow.alice.get(f"/v1/images/detail?property-x_none_a={value}").json["images"] == []
    # As if it were not there: what may be created may be created once more.
    add = [{"op": "add", "path": "/deposit", "value": "1"}]
    assert [narrow.alice.patch(path, add).status_code for _ in range(2)] == [200, 200]
    old = f"/v1/images/{image_id(path)}"
    headers = {"x-image-meta-property-deposit": "2", "x-glance-registry-purge-props": "false"}
    assert narrow.alice.call("PUT", old, headers=headers).status_code == 200
    shown = narrow.alice.call("HEAD", old).headers
    assert not {"x-image-meta-property-deposit", "x-image-meta-property-x_none_a"} & set(shown)
    assert narrow.alice.call("PUT", old, headers={"x-image-meta-property-open_a": "2"}).status_code == 200
    assert api.alice.get(path).json["x_none_a"] == "secret"


def test_protections_by_policy(make_api: Callable[..., Api], tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text('"licensed": "user_id:alice"\n')
    (tmp_path / "protections.conf").write_text("[.*]\ncreate = licensed\nread = @\nupdate = licensed\ndelete = !\n")
    policy = {
        "file": str(tmp_path / "policy.yaml"),
        "property_protections": str(tmp_path / "protections.conf"),
        "property_protection_format": "policies",
    }
    api = make_api(policy=policy)
    assert api.alice.post("/v2/images", {"x": "1"}).status_code == 201
    assert api.anna.post("/v2/images", {"x": "1"}).status_code == 403


def test_protections_that_cannot_be_used(make_api: Callable[..., Api], tmp_path: Path) -> None:
    file = tmp_path / "protections.conf"
    file.write_text("[x(]\ncreate = @\n[y]\nread = @, !\nfly = @\n")
    with pytest.raises(PipelineError) as caught:
        make_api(policy={"property_protections": str(file)})
    assert len(caught.value.details) == 3
