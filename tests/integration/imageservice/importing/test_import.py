"""Imports: staged data, copies, data from the web; into one store and into many; what fails is undone."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.home import CHECKOUT
from tests.environments.daemon import scratch, wait_until
from tests.environments.imageservice import ImageService, image_service
from tests.integration.imageservice.importing.conftest import (
    STORES,
    ask,
    assert_clean,
    ended,
    leftovers,
    settings,
    stage,
)
from tests.integration.imageservice.importing.web import Web
from tests.integration.imageservice.lifecycle.transfer.test_upload import qcow2, signed
from tests.integration.imageservice.server.plain_app import pattern

pytestmark = pytest.mark.server
MIB = 1 << 20
DATA = pattern(3 * MIB + 77)


def assert_active(service: ImageService, image_id: str, data: bytes, stores: str, user: str = "alice") -> None:
    shown = service.show(image_id, user)
    assert shown["status"] == "active"
    assert shown["stores"] == stores
    assert shown["size"] == len(data)
    assert shown["checksum"] == hashlib.md5(data).hexdigest()
    assert shown["os_hash_value"] == hashlib.sha512(data).hexdigest()
    assert shown["os_glance_importing_to_stores"] == shown["os_glance_failed_import"] == ""
    assert "os_glance_import_task" not in shown
    kept = leftovers(service, image_id)
    assert len(kept) == len(stores.split(","))
    assert all(path.read_bytes() == data for path in kept)
    for store in stores.split(","):
        answer = service.request("GET", f"/v2/images/{image_id}/file?prefer={store}", user)
        assert answer.content == data


def break_store(service: ImageService, name: str) -> Path:
    """Make a store fail: where its folder was there is a file."""
    folder = service.folder / "stores" / name
    folder.rename(folder.with_name(f"{name}.away"))
    folder.write_text("no folder")
    return folder


def mend_store(folder: Path) -> None:
    folder.unlink()
    folder.with_name(f"{folder.name}.away").rename(folder)


@pytest.mark.parametrize(
    ("choice", "stores"),
    [
        ({}, "one"),
        ({"stores": ["two"]}, "two"),
        ({"stores": ["two", "three"]}, "three,two"),
        ({"all_stores": True}, "one,three,two"),
        ({"all_stores": False, "all_stores_must_succeed": False}, "one"),
        ({"all_stores": True, "all_stores_must_succeed": False}, "one,three,two"),
    ],
)
def test_staged_data(service: ImageService, choice: dict[str, Any], stores: str) -> None:
    image_id = service.create()
    assert stage(service, image_id, DATA).status_code == 204
    shown = service.show(image_id)
    assert (shown["status"], shown["size"], "stores" in shown) == ("uploading", len(DATA), False)
    assert service.request("GET", f"/v2/images/{image_id}/file").status_code == 204
    answer = ask(service, image_id, "glance-direct", **choice)
    assert (answer.status_code, answer.content) == (202, b"")
    assert "json" not in answer.headers["Content-Type"], "clients parse what is called so"
    task = ended(service, image_id)
    assert task["status"] == "success", task
    assert task["request_id"] == answer.headers["x-openstack-request-id"]
    assert task["input"]["import_req"]["method"]["name"] == "glance-direct"
    assert task["result"] == {"image_id": image_id}
    done = {"state": "done", "done": len(DATA), "total": len(DATA)}
    assert all(task["progress"][store] == done for store in stores.split(","))
    assert_active(service, image_id, DATA, stores)


def test_data_from_the_web(service: ImageService, origin: Web) -> None:
    origin.files["web.img"] = DATA
    for path in ("/web.img", "/chunked/web.img", "/redirect//web.img", "/redirect/|redirect||web.img/web.img"):
        image_id = service.create()
        answer = ask(service, image_id, "web-download", uri=origin.url(path), stores=["one", "three"])
        assert answer.status_code == 202, answer.text
        task = ended(service, image_id)
        assert task["status"] == "success", task
        assert task["progress"]["fetch"]["done"] == len(DATA)
        assert_active(service, image_id, DATA, "one,three")


def test_a_copy(service: ImageService) -> None:
    image_id = service.create("admin", visibility="community")
    assert service.upload(image_id, DATA, "admin").status_code == 204
    assert ask(service, image_id, "copy-image", stores=["two"]).status_code == 403
    assert ask(service, image_id, "copy-image", "admin", stores=["two"]).status_code == 202
    assert ended(service, image_id, "admin")["status"] == "success"
    assert service.show(image_id)["status"] == "active"
    assert ask(service, image_id, "copy-image", "admin", stores=["two"]).status_code == 400
    assert ask(service, image_id, "copy-image", "admin", all_stores=True).status_code == 202
    wait_until(lambda: service.show(image_id, "admin")["stores"] == "one,three,two", "all stores")
    assert ended(service, image_id, "admin")["status"] == "success"
    assert_active(service, image_id, DATA, "one,three,two", "admin")
    tasks = service.request("GET", f"/v2/images/{image_id}/tasks", "admin").json()["tasks"]
    assert ask(service, image_id, "copy-image", "admin", all_stores=True).status_code == 202
    assert service.request("GET", f"/v2/images/{image_id}/tasks", "admin").json()["tasks"] == tasks
    assert service.request("DELETE", f"/v2/stores/two/{image_id}", "admin").status_code == 204
    assert service.show(image_id, "admin")["stores"] == "one,three"


def test_owners_copy_by_one_line_of_policy() -> None:
    """The line of docs/importing.md as it stands there."""
    text = (CHECKOUT / "docs" / "importing.md").read_text()
    [line] = [line for line in text.splitlines() if line.startswith("copy_image: ")]
    with scratch("owners") as folder:
        (folder / "policy.yaml").write_text(f"{line}\n")
        with image_service(folder, **settings(folder), policy={"file": str(folder / "policy.yaml")}) as service:
            mine, foreign = service.create(), service.create("bob", visibility="community")
            assert service.upload(mine, DATA).status_code == 204
            assert service.upload(foreign, DATA, "bob").status_code == 204
            assert ask(service, foreign, "copy-image", stores=["two"]).status_code == 403
            assert ask(service, mine, "copy-image", "rita", stores=["two"]).status_code == 403
            assert ask(service, mine, "copy-image", stores=["two"]).status_code == 202
            assert ended(service, mine)["status"] == "success"
            assert_active(service, mine, DATA, "one,two")
            assert ask(service, foreign, "copy-image", "admin", stores=["two"]).status_code == 202
            assert ended(service, foreign, "admin")["status"] == "success"


def test_copies_to_different_stores_do_not_wait_for_each_other(service: ImageService) -> None:
    image_id = service.create("admin")
    assert service.upload(image_id, pattern(40 * MIB), "admin").status_code == 204
    answers = [
        ask(service, image_id, "copy-image", "admin", stores=[store]).status_code for store in ("two", "three", "two")
    ]
    assert answers[:2] == [202, 202]
    assert answers[2] in (409, 400)  # under way, or there already
    wait_until(lambda: service.show(image_id, "admin").get("stores") == "one,three,two", "all stores")
    wait_until(lambda: "os_glance_import_task" not in service.show(image_id, "admin"), "no lock")


def test_a_copy_of_damaged_data_is_no_copy(service: ImageService) -> None:
    image_id = service.create("admin")
    assert service.upload(image_id, DATA, "admin").status_code == 204
    (service.folder / "stores" / "one" / image_id).write_bytes(bytes(len(DATA)))
    assert ask(service, image_id, "copy-image", "admin", stores=["two"]).status_code == 202
    task = ended(service, image_id, "admin")
    assert task["status"] == "failure"
    assert "digests" in task["message"]
    shown = service.show(image_id, "admin")
    assert (shown["status"], shown["stores"]) == ("active", "one")
    assert shown["os_glance_failed_import"] == "two"
    assert not (service.folder / "stores" / "two" / image_id).exists()


@pytest.mark.parametrize("must_succeed", [True, False])
def test_a_store_that_fails(service: ImageService, must_succeed: bool) -> None:
    image_id = service.create()
    assert stage(service, image_id, DATA).status_code == 204
    folder = break_store(service, "two")
    try:
        assert (
            ask(
                service, image_id, "glance-direct", stores=list(STORES), all_stores_must_succeed=must_succeed
            ).status_code
            == 202
        )
        task = ended(service, image_id)
    finally:
        mend_store(folder)
    shown = service.show(image_id)
    assert shown["os_glance_failed_import"] == "two"
    assert task["progress"]["two"]["state"] == "failed"
    if must_succeed:
        assert task["status"] == "failure"
        assert "store two" in task["message"]
        assert_clean(service, image_id)
        assert service.upload(image_id, DATA).status_code == 204
    else:
        assert task["status"] == "success"
        assert (shown["status"], shown["stores"]) == ("active", "one,three")
        assert ask(service, image_id, "copy-image", "admin", stores=["two"]).status_code == 202
        assert ended(service, image_id, "admin")["status"] == "success"
        assert_active(service, image_id, DATA, "one,three,two")


def test_when_every_store_fails_the_image_waits_again(service: ImageService) -> None:
    image_id = service.create()
    assert stage(service, image_id, DATA).status_code == 204
    folders = [break_store(service, name) for name in ("two", "three")]
    try:
        ask(service, image_id, "glance-direct", stores=["two", "three"], all_stores_must_succeed=False)
        assert ended(service, image_id)["status"] == "failure"
    finally:
        for folder in folders:
            mend_store(folder)
    assert sorted(service.show(image_id)["os_glance_failed_import"].split(",")) == ["three", "two"]
    assert_clean(service, image_id)


@pytest.mark.parametrize("method", ["glance-direct", "web-download"])
def test_data_of_another_format_leaves_nothing(service: ImageService, origin: Web, method: str) -> None:
    image_id = service.create(disk_format=None) if method == "glance-direct" else service.create(disk_format="qcow2")
    hostile = qcow2(backing=512)
    origin.files["hostile.img"] = hostile
    if method == "glance-direct":
        assert stage(service, image_id, hostile).status_code == 204
        patched = service.request(
            "PATCH",
            f"/v2/images/{image_id}",
            json=[{"op": "replace", "path": "/disk_format", "value": "qcow2"}],
            headers={"Content-Type": "application/openstack-images-v2.1-json-patch"},
        )
        assert patched.status_code == 200, patched.text
    answer = ask(service, image_id, method, uri=origin.url("/hostile.img"), stores=["one", "two"])
    assert answer.status_code == 202, answer.text
    task = ended(service, image_id)
    assert task["status"] == "failure"
    assert "safety" in task["message"]
    assert sorted(service.show(image_id)["os_glance_failed_import"].split(",")) == ["one", "two"]
    assert_clean(service, image_id)


def test_hostile_data_is_refused_when_it_is_staged(service: ImageService) -> None:
    image_id = service.create(disk_format="qcow2")
    assert stage(service, image_id, qcow2(backing=512)).status_code == 415
    shown = service.show(image_id)
    assert (shown["status"], shown["size"]) == ("queued", None)
    assert leftovers(service, image_id) == []
    assert stage(service, image_id, qcow2()).status_code == 204


def test_signatures(service: ImageService) -> None:
    properties = signed(service, DATA)
    good, bad = service.create(**properties), service.create(**properties)
    assert stage(service, good, DATA).status_code == 204
    assert stage(service, bad, DATA[:-1] + b"x").status_code == 400
    assert ask(service, good, "glance-direct", all_stores=True).status_code == 202
    assert ended(service, good)["status"] == "success"


def test_deleting_an_image_ends_its_import(service: ImageService, origin: Web) -> None:
    origin.files["slow.img"] = pattern(4 * MIB)
    image_id = service.create()
    assert ask(service, image_id, "web-download", uri=origin.url("/drip/slow.img"), all_stores=True).status_code == 202
    wait_until(lambda: leftovers(service, image_id) != [], "some data")
    assert service.request("DELETE", f"/v2/images/{image_id}").status_code == 204
    wait_until(lambda: leftovers(service, image_id) == [], "no data", seconds=20)
    assert service.request("GET", f"/v2/images/{image_id}").status_code == 404


def test_deleting_a_staged_image_deletes_what_is_staged(service: ImageService) -> None:
    image_id = service.create()
    assert stage(service, image_id, DATA).status_code == 204
    assert leftovers(service, image_id) != []
    assert service.request("DELETE", f"/v2/images/{image_id}").status_code == 204
    assert leftovers(service, image_id) == []


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (400, []),
        (400, {}),
        (400, {"method": "glance-direct"}),
        (400, {"method": {}}),
        (400, {"method": {"name": 5}}),
        (400, {"method": {"name": "teleport"}}),
        (400, {"method": {"name": "web-download"}}),
        (400, {"method": {"name": "web-download", "uri": 5}}),
        (400, {"method": {"name": "web-download", "uri": "ftp://x/y"}}),
        (400, {"method": {"name": "web-download", "uri": "http://169.254.169.254:8080/x"}}),
        (400, {"method": {"name": "web-download", "uri": "http://127.0.0.1:22/x"}}),
        (400, {"method": {"name": "web-download", "uri": "http://example.invalid:8080/x"}}),
        (400, {"method": {"name": "web-download", "uri": "http://127.0.0.1:8080/x", "checksum": "sha256:12"}}),
        (400, {"method": {"name": "web-download", "uri": "http://127.0.0.1:8080/x"}, "stores": "one"}),
        (400, {"method": {"name": "web-download", "uri": "http://127.0.0.1:8080/x"}, "all_stores": "yes"}),
        (409, {"method": {"name": "web-download", "uri": "http://127.0.0.1:8080/x"}, "stores": ["four"]}),
        (409, {"method": {"name": "glance-direct"}}),
        (409, {"method": {"name": "copy-image"}}),
        (
            400,
            {
                "method": {"name": "web-download", "uri": "http://127.0.0.1:8080/x"},
                "stores": ["one"],
                "all_stores": True,
            },
        ),
    ],
)
def test_what_cannot_be_imported(service: ImageService, code: int, body: object) -> None:
    image_id = service.create()
    answer = service.request("POST", f"/v2/images/{image_id}/import", json=body)
    assert answer.status_code == code, answer.text
    assert service.show(image_id)["status"] == "queued"
    assert service.request("GET", f"/v2/images/{image_id}/tasks").json() == {"tasks": []}


def test_more_that_cannot_be_imported(service: ImageService) -> None:
    uri = "http://127.0.0.1:8080/x"
    assert ask(service, str(uuid.uuid4()), "web-download", uri=uri).status_code == 404
    image_id = service.create()
    assert ask(service, image_id, "web-download", "bob", uri=uri).status_code == 404
    assert ask(service, image_id, "web-download", "rita", uri=uri).status_code == 403
    assert ask(service, service.create(disk_format=None), "web-download", uri=uri).status_code == 409
    header = {"X-Image-Meta-Store": "one"}
    both = {"method": {"name": "web-download", "uri": uri}, "stores": ["two"]}
    assert service.request("POST", f"/v2/images/{image_id}/import", json=both, headers=header).status_code == 400
    assert service.request("POST", f"/v2/images/{image_id}/import").status_code == 400


def test_the_stores_of_body_and_header_may_agree(service: ImageService, origin: Web) -> None:
    origin.files["x.img"] = b"data"
    image_id = service.create()
    body = {"method": {"name": "web-download", "uri": origin.url("/x.img")}, "stores": ["two"]}
    answer = service.request("POST", f"/v2/images/{image_id}/import", json=body, headers={"X-Image-Meta-Store": "two"})
    assert answer.status_code == 202
    assert ended(service, image_id)["status"] == "success"
    assert service.show(image_id)["stores"] == "two"


def test_one_import_at_a_time(service: ImageService, origin: Web) -> None:
    origin.files["slow.img"] = pattern(MIB)
    image_id = service.create()
    uri = origin.url("/drip/slow.img")
    assert ask(service, image_id, "web-download", uri=uri).status_code == 202
    assert ask(service, image_id, "web-download", uri=uri).status_code == 409
    assert service.upload(image_id, DATA).status_code == 409
    assert service.request("DELETE", f"/v2/images/{image_id}").status_code == 204


def test_many_imports_at_once_all_end(service: ImageService, origin: Web) -> None:
    origin.files["many.img"] = pattern(8 * MIB)
    images = [service.create() for _ in range(20)]
    for image_id in images:
        uri = origin.url("/many.img")
        assert ask(service, image_id, "web-download", uri=uri, all_stores=True).status_code == 202
    assert [ended(service, image_id, seconds=120)["status"] for image_id in images] == ["success"] * 20


@pytest.mark.parametrize(
    "quotas", [{"source": "settings", "default": {"image_stage_total": 2}}, {"user_storage": "2500 KB"}]
)
def test_data_of_unknown_length_is_counted_as_it_comes(origin: Web, tmp_path: Path, quotas: dict[str, Any]) -> None:
    origin.files["unknown.img"] = DATA
    origin.files["little.img"] = DATA[:MIB]
    more = settings(tmp_path)
    with image_service(tmp_path, quotas=quotas, **more) as service:
        too_much, enough = service.create(), service.create()
        ask(service, too_much, "web-download", uri=origin.url("/chunked/unknown.img")).raise_for_status()
        failed = ended(service, too_much)
        assert failed["status"] == "failure"
        assert "bytes remaining" in failed["message"]
        assert_clean(service, too_much)
        ask(service, enough, "web-download", uri=origin.url("/chunked/little.img"), stores=["one", "two"])
        assert ended(service, enough)["status"] == "success"
        assert_active(service, enough, DATA[:MIB], "one,two")


def test_imports_at_once_do_not_pass_the_storage_quota(origin: Web, tmp_path: Path) -> None:
    """The second begins while the first drips."""
    origin.files["dripping.img"] = origin.files["whole.img"] = DATA
    more = settings(tmp_path)
    with image_service(tmp_path, quotas={"user_storage": "4 MB"}, **more) as service:
        first, second = service.create(), service.create()
        ask(service, first, "web-download", uri=origin.url("/drip/dripping.img")).raise_for_status()
        wait_until(lambda: bool(leftovers(service, first)), "the first import fetches")
        ask(service, second, "web-download", uri=origin.url("/whole.img")).raise_for_status()
        assert "remaining" in ended(service, second)["message"]
        origin.hurry("dripping.img")
        assert ended(service, first)["status"] == "success"
