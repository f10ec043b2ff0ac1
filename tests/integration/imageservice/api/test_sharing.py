"""``/v2/images/{id}/members``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.imageservice.api.world import Api, image_id

DOCUMENT = {"member_id", "image_id", "status", "created_at", "updated_at", "schema"}


def share(api: Api, path: str, who: str = "bob") -> str:
    """Share an image; returns the membership's path."""
    project = getattr(api, who).project
    answer = api.alice.post(f"{path}/members", {"member": project})
    assert answer.status_code == 200, answer.text
    return f"{path}/members/{project}"


def test_a_consumer_may_use_what_it_has_not_accepted(api: Api) -> None:
    path = api.alice.active(b"data")
    assert api.bob.get(path).status_code == 404
    member = share(api, path)
    answer = api.bob.get(member)
    assert set(answer.json) == DOCUMENT
    assert (answer.json["member_id"], answer.json["status"]) == (api.bob.project, "pending")
    assert answer.json["schema"] == "/v2/schemas/member"
    assert api.bob.get(path).status_code == 200
    assert api.bob.get(f"{path}/file").content == b"data"
    assert api.bob.ids() == []
    for status, listed in (("accepted", True), ("rejected", False), ("pending", False)):
        answer = api.bob.put(member, {"status": status})
        assert (answer.status_code, answer.json["status"]) == (200, status)
        assert (image_id(path) in api.bob.ids()) is listed
        assert api.bob.get(path).status_code == 200
    assert api.alice.delete(member).status_code == 204
    assert api.bob.get(path).status_code == 404
    assert api.alice.delete(member).status_code == 404


def test_a_membership_that_is_made_again_is_pending(api: Api) -> None:
    member = share(api, api.alice.create())
    api.bob.put(member, {"status": "accepted"})
    api.alice.delete(member)
    assert share(api, member.rpartition("/members")[0]) == member
    assert api.alice.get(member).json["status"] == "pending"


def test_who_sees_which_members(api: Api) -> None:
    path = api.alice.create()
    to_bob, to_carl = share(api, path), share(api, path, "carl")

    def listed(who: str) -> list[str]:
        document = getattr(api, who).get(f"{path}/members").json
        assert document["schema"] == "/v2/schemas/members"
        return [member["member_id"] for member in document["members"]]

    assert listed("alice") == listed("rita") == listed("admin") == [api.bob.project, api.carl.project]
    assert listed("bob") == [api.bob.project]
    assert api.bob.get(to_carl).status_code == 404
    assert api.carl.get(to_carl).status_code == 200
    assert api.alice.get(to_bob).status_code == 200
    stranger = api.alice.create()
    assert api.bob.get(f"{stranger}/members").status_code == 404
    assert api.bob.get(f"{stranger}/members/{api.bob.project}").status_code == 404


def test_who_may_answer(api: Api) -> None:
    member = share(api, api.alice.create())
    accepted = {"status": "accepted"}
    assert api.alice.put(member, accepted).status_code == 403
    assert api.carl.put(member, accepted).status_code == 404
    assert api.admin.put(member, accepted).json["status"] == "accepted"
    assert api.alice.put(f"{member}x", accepted).status_code == 404


def test_who_may_share(api: Api) -> None:
    path = api.alice.create()
    member = share(api, path)
    body = {"member": "somebody"}
    assert api.rita.post(f"{path}/members", body).status_code == 403
    assert api.bob.post(f"{path}/members", body).status_code == 403
    assert api.carl.post(f"{path}/members", body).status_code == 404
    assert api.bob.delete(member).status_code == 403
    assert api.rita.delete(member).status_code == 403
    assert api.carl.delete(member).status_code == 404
    assert api.admin.post(f"{path}/members", body).status_code == 200
    assert api.admin.delete(f"{path}/members/somebody").status_code == 204


@pytest.mark.parametrize("visibility", ["private", "public", "community"])
def test_only_shared_images_have_members(api: Api, visibility: str) -> None:
    path = api.admin.create(visibility=visibility, owner=api.alice.project)
    member = f"{path}/members/{api.bob.project}"
    assert api.alice.post(f"{path}/members", {"member": api.bob.project}).status_code == 403
    assert api.alice.get(f"{path}/members").status_code == 403
    assert api.alice.get(member).status_code == 404
    assert api.alice.put(member, {"status": "accepted"}).status_code == 403
    assert api.alice.delete(member).status_code == 403


def test_members_outlast_a_change_of_visibility(api: Api) -> None:
    path = api.alice.create()
    member = share(api, path)
    for visibility, seen in (("private", 404), ("shared", 200)):
        api.alice.patch(path, [{"op": "replace", "path": "/visibility", "value": visibility}])
        assert api.bob.get(path).status_code == seen
    assert api.bob.get(member).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        ["x"],
        {"member": ""},
        {"member": "  "},
        {"member": 5},
        {"member": None},
        {"member": "x" * 256},
        {"x": "y"},
    ],
)
def test_members_that_are_none(api: Api, body: Any) -> None:
    assert api.alice.post(f"{api.alice.create()}/members", body).status_code == 400


def test_a_missing_body(api: Api) -> None:
    path = api.alice.create()
    assert api.alice.post(f"{path}/members").status_code == 400
    assert api.bob.put(share(api, path)).status_code == 400


@pytest.mark.parametrize("body", [{}, {"status": "fine"}, {"status": 5}, {"status": None}, [], {"status": ""}])
def test_answers_that_are_none(api: Api, body: Any) -> None:
    assert api.bob.put(share(api, api.alice.create()), body).status_code == 400


def test_other_keys_are_ignored(api: Api) -> None:
    path = api.alice.create()
    answer = api.alice.post(f"{path}/members", {"member": api.bob.project, "status": "accepted"})
    assert (answer.status_code, answer.json["status"]) == (200, "pending")
    assert api.alice.post(f"{path}/members", {"member": api.bob.project}).status_code == 409


def test_the_number_of_members_is_limited(make_api: Callable[..., Api]) -> None:
    api = make_api(quotas={"image_members": 2})
    path = api.alice.create()
    for number in range(2):
        assert api.alice.post(f"{path}/members", {"member": f"m{number}"}).status_code == 200
    assert api.alice.post(f"{path}/members", {"member": "m2"}).status_code == 413
    assert api.alice.post(f"{path}/members", {"member": "m1"}).status_code == 409
