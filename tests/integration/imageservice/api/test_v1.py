"""The first version of the API, as the standalone guide's tools call it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.imageservice.api.world import Api, Person, image_id, message

DATA = b"some bytes of an image"
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
META = {"x-image-meta-name": "cirros", "x-image-meta-disk_format": "raw", "x-image-meta-container_format": "bare"}
OCTETS = {"Content-Type": "application/octet-stream"}


@pytest.fixture
def old(make_api: Callable[..., Api]) -> Api:
    return make_api(api={"version_1": True})


def post(person: Person, data: bytes | None = None, **headers: str) -> Any:
    sent = {f"x-image-meta-{name.replace('__', '-')}": value for name, value in headers.items()}
    return person.call("POST", "/v1/images", data=data, headers={**META, **sent, **(OCTETS if data else {})})


def test_it_is_off_unless_switched_on(api: Api, old: Api) -> None:
    assert api.alice.get("/v1/images").status_code == 300
    assert old.alice.get("/v1/images").json == {"images": []}
    versions = {one["id"]: one["status"] for one in old.nobody.get("/versions").json["versions"]}
    assert (versions["v1.1"], versions["v1.0"]) == ("DEPRECATED", "DEPRECATED")
    assert old.nobody.get("/v1/images").status_code == 401


def test_members_are_for_those_whom_the_rule_lets(make_api: Callable[..., Api], tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text('"get_members": "role:admin"\n')
    narrow = make_api(api={"version_1": True}, policy={"file": str(tmp_path / "policy.yaml")})
    path = narrow.alice.create()
    assert narrow.alice.post(f"{path}/members", {"member": narrow.bob.project}).status_code == 200
    members = f"/v1/images/{image_id(path)}/members"
    assert narrow.alice.get(members).json == {"members": []}
    assert [one["member_id"] for one in narrow.admin.get(members).json["members"]] == [narrow.bob.project]
    assert narrow.bob.get(f"/v1/shared-images/{narrow.bob.project}").status_code == 403
    assert len(narrow.admin.get(f"/v1/shared-images/{narrow.bob.project}").json["shared_images"]) == 1


def test_lists_leave_out_what_the_rule_hides(make_api: Callable[..., Api], tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text('"get_image": "role:admin"\n')
    narrow = make_api(api={"version_1": True}, policy={"file": str(tmp_path / "policy.yaml")})
    path = narrow.admin.create()
    assert image_id(path) in [one["id"] for one in narrow.admin.get("/v1/images").json["images"]]
    narrow.alice.create()
    assert narrow.alice.get("/v1/images").json == narrow.alice.get("/v1/images/detail").json == {"images": []}
    assert narrow.alice.get(f"/v1/images?marker={image_id(path)}").status_code == 400


def test_an_image_with_its_data(old: Api) -> None:
    made = post(old.alice, DATA, property__OS__Distro="cirros", min_ram="64", protected="False")
    assert made.status_code == 201
    image = made.json["image"]
    assert made.headers["location"] == f"http://falconframework.org/v1/images/{image['id']}"
    assert made.headers["etag"] == MD5
    assert (image["status"], image["size"], image["checksum"]) == ("active", len(DATA), MD5)
    assert (image["is_public"], image["owner"], image["min_ram"]) == (False, old.alice.project, 64)
    assert image["properties"] == {"os_distro": "cirros"}
    path = f"/v1/images/{image['id']}"
    head = old.alice.call("HEAD", path)
    assert (head.status_code, head.content) == (200, b"")
    expected = {
        "x-image-meta-id": image["id"],
        "x-image-meta-name": "cirros",
        "x-image-meta-is_public": "False",
        "x-image-meta-protected": "False",
        "x-image-meta-size": str(len(DATA)),
        "x-image-meta-property-os_distro": "cirros",
        "etag": MD5,
    }
    assert {name: head.headers[name] for name in expected} == expected
    assert "x-image-meta-location" not in head.headers
    got = old.alice.get(path)
    assert (got.status_code, got.content) == (200, DATA)
    assert got.headers["content-length"] == str(len(DATA))
    assert got.headers["x-image-meta-name"] == "cirros"
    assert old.alice.get(f"/v2/images/{image['id']}").json["os_distro"] == "cirros"
    deleted = old.alice.delete(path)
    assert (deleted.status_code, deleted.content) == (200, b"")
    assert old.alice.call("HEAD", path).status_code == 404


def test_base64_is_refused_instead_of_stored(old: Api) -> None:
    """The guide's own upload would store the text of the encoding, a third longer than the image."""
    headers = {**META, **OCTETS, "Content-Transfer-Encoding": "base64"}
    answer = old.alice.call("POST", "/v1/images", data=base64.b64encode(DATA), headers=headers)
    assert answer.status_code == 400
    assert "not base64 of it" in message(answer)
    assert old.alice.ids() == []


def test_metadata_first_and_data_later(old: Api) -> None:
    image = post(old.alice).json["image"]
    assert (image["status"], image["size"]) == ("queued", 0)
    path = f"/v1/images/{image['id']}"
    assert old.alice.get(path).status_code == 204
    sent = old.alice.call("PUT", path, data=DATA, headers={**OCTETS, "x-image-meta-property-a": "1"})
    assert (sent.status_code, sent.json["image"]["status"]) == (200, "active")
    assert old.alice.call("PUT", path, data=DATA, headers=OCTETS).status_code == 409


def test_changes(old: Api) -> None:
    image = post(old.alice, DATA, property__a="1", property__b="2").json["image"]
    path = f"/v1/images/{image['id']}"
    everything = {
        f"x-image-meta-{name}": str(image[name]) for name in ("id", "size", "checksum", "disk_format", "status")
    }
    renamed = old.alice.call(
        "PUT", path, headers={**everything, "x-image-meta-name": "new", "x-image-meta-property-c": "3"}
    )
    assert renamed.json["image"]["name"] == "new"
    assert renamed.json["image"]["properties"] == {"c": "3"}
    kept = {"x-image-meta-property-d": "4", "x-glance-registry-purge-props": "false"}
    assert old.alice.call("PUT", path, headers=kept).json["image"]["properties"] == {"c": "3", "d": "4"}
    for headers in (
        {"x-image-meta-status": "queued"},
        {"x-image-meta-id": "11111111-2222-3333-4444-555555555555"},
        {"x-image-meta-size": "5"},
        {"x-image-meta-checksum": "0" * 32},
        {"x-image-meta-is_public": "True"},
        {"x-image-meta-owner": "somebody"},
        {"x-image-meta-disk_format": "iso"},
        {"x-image-meta-property-os_glance_x": "1"},
    ):
        assert old.alice.call("PUT", path, headers=headers).status_code == 403, headers
    assert old.rita.call("PUT", path, headers={"x-image-meta-name": "x"}).status_code == 403
    assert old.bob.call("PUT", path, headers={"x-image-meta-name": "x"}).status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"nonsense": "x"}, 400),
        ({"min_ram": "x"}, 400),
        ({"min_disk": "-1"}, 400),
        ({"protected": "perhaps"}, 400),
        ({"name": "x" * 256}, 400),
        ({"disk_format": "ami", "container_format": "bare"}, 400),
        ({"disk_format": "aki", "container_format": "ami"}, 400),
        ({"disk_format": "zip"}, 400),
        ({"location": "http://example.org/x"}, 400),
        ({"size": "5"}, 400),
        ({"checksum": "0" * 32}, 400),
        ({"status": "active"}, 403),
        ({"is_public": "True"}, 403),
        ({"owner": "somebody"}, 403),
        ({"property__os_glance_x": "x"}, 403),
        ({"property__self": "x"}, 403),
    ],
)
def test_headers_that_cannot_be(old: Api, headers: dict[str, str], status: int) -> None:
    answer = post(old.alice, DATA, **headers)
    assert answer.status_code == status
    assert len(message(answer)) > 10


def test_a_body_that_is_not_what_was_promised_leaves_nothing(old: Api) -> None:
    made = post(old.alice, DATA, checksum="0" * 32)
    assert "does not have the checksum" in message(made)
    assert_nothing_is_left(old)
    assert post(old.alice, DATA, checksum=MD5, size=str(len(DATA))).status_code == 201


def assert_nothing_is_left(old: Api) -> None:
    assert old.alice.ids() == old.admin.ids(f"owner={old.alice.project}") == []
    assert old.alice.get("/v1/images/detail").json == {"images": []}
    assert not [file for file in (old.service.settings.folder / "stores").rglob("*") if file.is_file()]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"checksum": "0" * 32}, 400),
        ({"size": "5"}, 400),
        ({"nonsense": "x"}, 400),
        ({"disk_format": "qcow2"}, 415),
        ({"store": "nowhere"}, 400),
        ({"protected": "True", "checksum": "0" * 32}, 400),
        ({"property__img_signature": "x", "property__img_signature_uuid": "x"}, 400),
    ],
)
def test_a_post_that_fails_leaves_nothing(make_api: Callable[..., Api], headers: dict[str, str], status: int) -> None:
    old = make_api(api={"version_1": True})
    for _ in range(2):
        assert post(old.alice, DATA, **headers).status_code == status
    assert_nothing_is_left(old)


def test_too_much_data_leaves_nothing(make_api: Callable[..., Api]) -> None:
    old = make_api(
        api={"version_1": True}, quotas={"image_size": 10, "source": "settings", "default": {"image_count_total": 1}}
    )
    for _ in range(3):  # nor does it count
        assert post(old.alice, DATA).status_code == 413
    assert_nothing_is_left(old)
    assert post(old.alice, b"short").status_code == 201


def test_an_id_whose_data_failed_does_not_come_again(old: Api) -> None:
    """Its name in the store is used up: what another attempt wrote there could be deleted by the first one."""
    identifier = "11111111-2222-3333-4444-555555555555"
    assert post(old.alice, DATA, id=identifier, checksum="0" * 32).status_code == 400
    with old.service.database.read() as connection:
        rows = connection.exec_driver_sql(f"select state from catalog_objects where image_id = '{identifier}'").all()
    assert post(old.alice, DATA, id=identifier).status_code == 409
    assert old.alice.post("/v2/images", {"id": identifier}).status_code == 409
    with old.service.database.read() as connection:
        assert (
            connection.exec_driver_sql(f"select state from catalog_objects where image_id = '{identifier}'").all()
            == rows
        )
    assert [row[0] for row in rows] == ["spent"]
    assert_nothing_is_left(old)


def test_a_put_that_fails_leaves_the_image_as_it_was(old: Api) -> None:
    image = post(old.alice).json["image"]
    path = f"/v1/images/{image['id']}"
    assert (
        old.alice.call("PUT", path, data=DATA, headers={**OCTETS, "x-image-meta-checksum": "0" * 32}).status_code == 400
    )
    assert old.alice.get(f"/v2/images/{image['id']}").json["status"] == "queued"
    assert old.alice.call("PUT", path, data=DATA, headers=OCTETS).status_code == 200


def test_copying_from_the_web_says_what_to_use(old: Api) -> None:
    headers = {**META, "x-glance-api-copy-from": "http://example.org/x"}
    answer = old.alice.call("POST", "/v1/images", headers=headers)
    assert answer.status_code == 400
    assert "web-download" in message(answer)


def test_lists(old: Api) -> None:
    public = post(old.admin, None, is_public="True", name="open", owner=old.alice.project).json["image"]["id"]
    own = post(old.alice, DATA, name="a:b", property__x="1").json["image"]["id"]

    def ids(query: str = "", path: str = "/v1/images") -> list[str]:
        return [image["id"] for image in old.alice.get(f"{path}?{query}").json["images"]]

    assert ids() == [own, public]
    assert ids("sort_key=name&sort_dir=asc") == [own, public]
    assert ids("limit=1") == [own]
    assert ids(f"limit=1&marker={own}") == [public]
    assert ids("is_public=true") == [public]
    assert ids("is_public=none") == [own, public]
    assert ids("name=a:b") == ids("property-x=1") == ids("size_min=1") == ids("is_public=false") == [own]
    assert ids("status=queued") == [public]
    assert ids("changes-since=2100-01-01T00:00:00") == []
    assert ids("name=a:b&protected=False&disk_format=raw&min_ram=0") == [own]
    [brief, _other] = old.alice.get("/v1/images").json["images"]
    assert set(brief) == {"id", "name", "disk_format", "container_format", "size", "checksum"}
    [detail, _other] = old.alice.get("/v1/images/detail").json["images"]
    assert set(detail) >= {"created_at", "deleted", "is_public", "owner", "properties", "status", "virtual_size"}
    for query in (
        "limit=x",
        "size_min=x",
        "is_public=maybe",
        "protected=1",
        "marker=x",
        "sort_key=x",
        "changes-since=x",
    ):
        assert old.alice.get(f"/v1/images?{query}").status_code == 400, query
    assert old.alice.call("HEAD", "/v1/images/detail").status_code == 405


def test_sharing(old: Api) -> None:
    path = f"/v1/images/{post(old.alice, DATA).json['image']['id']}"
    assert old.bob.get(path).status_code == 404
    assert old.alice.call("PUT", f"{path}/members/{old.bob.project}").status_code == 204
    assert old.alice.put(f"{path}/members/{old.bob.project}", {"member": {"can_share": True}}).status_code == 204
    assert old.alice.get(f"{path}/members").json == {"members": [{"member_id": old.bob.project, "can_share": False}]}
    assert old.bob.get(path).content == DATA
    shared = old.bob.get(f"/v1/shared-images/{old.bob.project}").json["shared_images"]
    assert shared == [{"image_id": image_id(path), "can_share": False}]
    assert old.bob.get("/v1/images").json["images"][0]["id"] == image_id(path)
    assert old.carl.get(f"/v1/shared-images/{old.bob.project}").status_code == 403
    replaced = {"memberships": [{"member_id": old.carl.project}]}
    assert old.alice.put(f"{path}/members", replaced).status_code == 204
    assert old.bob.get(path).status_code == 404
    assert old.carl.get(path).status_code == 200
    assert old.carl.delete(f"{path}/members/{old.carl.project}").status_code == 403
    assert old.alice.delete(f"{path}/members/{old.carl.project}").status_code == 204
    assert old.alice.delete(f"{path}/members/{old.carl.project}").status_code == 404
    bodies: list[Any] = [{}, [], {"memberships": "x"}, {"memberships": [{}]}, {"memberships": [{"member_id": 5}]}]
    for body in bodies:
        assert old.alice.put(f"{path}/members", body).status_code == 400


def test_names_are_utf_8_and_open_no_further_header(old: Api) -> None:
    path = old.alice.create(name="Füchse 😀\r\nX-Evil: 1", **{"os distro": "x", "ok": "ü"})
    head = old.alice.call("HEAD", path.replace("/v2", "/v1"))
    assert head.headers["x-image-meta-name"].encode("latin-1").decode() == "Füchse 😀 X-Evil: 1"
    assert "x-evil" not in head.headers
    assert head.headers["x-image-meta-property-ok"].encode("latin-1").decode() == "ü"
    name = "Füchse".encode().decode("latin-1")
    assert post(old.alice, None, name=name).json["image"]["name"] == "Füchse"
