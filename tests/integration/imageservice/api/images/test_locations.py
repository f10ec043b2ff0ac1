"""Locations: data that lies in a store already. Web servers here are files of a server in this process."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.catalog.images import service_notes
from pipeline.imageservice.catalog.tasks import queue as task_queue
from pipeline.imageservice.lifecycle.locations import location_import
from tests.integration.imageservice.api.world import Api, Person, image_id, message
from tests.integration.imageservice.lifecycle.transfer.test_upload import qcow2

DATA = b"what lies on the web" * 1000
FORMATS = {"disk_format": "raw", "container_format": "bare"}


def fixed_vhd(size: int) -> bytes:
    """Zeros with a footer."""
    footer = bytearray(b"conectix".ljust(512, b"\0"))
    struct.pack_into(">QII", footer, 48, size, 0, 2)
    struct.pack_into(">I", footer, 64, ~sum(footer) & 0xFFFFFFFF)
    return bytes(size) + footer


# The footer of a fixed VHD is the only thing that tells it; the one here lies far behind what tells the other formats.
DISKS = {
    "disk.qcow2": qcow2(),
    "backed.qcow2": qcow2(backing=512),
    "fixed.vhd": fixed_vhd(8 << 20),
    "other.img": bytes(3 << 20),
}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    """A web server with some files; its address."""
    folder = Path(tempfile.mkdtemp())
    for name in ("one", "two", "three"):
        (folder / name).write_bytes(DATA)
    (folder / "empty").touch()
    for name, data in DISKS.items():
        (folder / name).write_bytes(data)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    shutil.rmtree(folder)


@pytest.fixture
def open_api(make_api: Callable[..., Api], web: str, tmp_path: Path) -> Api:
    """A service with a web store that shows locations, and tells of everything in the log."""
    port = int(web.rpartition(":")[2])
    return make_api(
        stores=[{"id": "main", "directories": [str(tmp_path / "main")]}, {"id": "web", "type": "http"}],
        fetch={"allowed_ports": [port], "allowed_networks": ["127.0.0.0/8"]},
        api={"show_locations": True, "show_direct_url": True},
        notifications={"targets": [{"kind": "log"}]},
    )


def add(url: str, where: str = "-", **more: Any) -> list[dict[str, Any]]:
    return [{"op": "add", "path": f"/locations/{where}", "value": {"url": url, "metadata": {}, **more}}]


def replace(*urls: str) -> list[dict[str, Any]]:
    return [{"op": "replace", "path": "/locations", "value": [{"url": url, "metadata": {}} for url in urls]}]


def remove(index: int) -> list[dict[str, Any]]:
    return [{"op": "remove", "path": f"/locations/{index}"}]


def test_locations_are_closed_unless_opened(api: Api, web: str) -> None:
    path = api.alice.create(**FORMATS)
    assert "locations" not in api.alice.get(path).json
    for operations in (add(f"{web}/one"), replace(f"{web}/one"), remove(0)):
        assert api.admin.patch(path, operations).status_code == 403


def test_the_first_location_makes_an_image_active(open_api: Api, web: str) -> None:
    path = open_api.alice.create(**FORMATS)
    assert open_api.alice.get(path).json["locations"] == []
    image = open_api.alice.patch(path, add(f"{web}/one")).json
    assert (image["status"], image["size"]) == ("active", len(DATA))
    assert (image["checksum"], image["os_hash_algo"], image["os_hash_value"]) == (None, None, None)
    assert image["locations"] == [{"url": f"{web}/one", "metadata": {"store": "web"}}]
    assert (image["direct_url"], image["stores"]) == (f"{web}/one", "web")
    assert open_api.alice.get(f"{path}/file").content == DATA


def test_hashes_may_come_along(open_api: Api, web: str) -> None:
    path = open_api.alice.create(**FORMATS)
    values = {"os_hash_algo": "sha512", "os_hash_value": "ab" * 64, "checksum": "cd" * 16}
    image = open_api.alice.patch(path, add(f"{web}/one", validation_data=values)).json
    assert {name: image[name] for name in values} == values
    assert "validation_data" not in image["locations"][0]
    again = open_api.alice.patch(path, add(f"{web}/two", validation_data=values))
    assert again.status_code == 200
    other = {**values, "os_hash_value": "ef" * 64}
    assert open_api.alice.patch(path, add(f"{web}/three", validation_data=other)).status_code == 409


@pytest.mark.parametrize(
    "values",
    [
        {"os_hash_algo": "sha256", "os_hash_value": "ab" * 32},
        {"os_hash_algo": "sha512", "os_hash_value": "ab" * 63},
        {"os_hash_algo": "sha512", "os_hash_value": "xy" * 64},
        {"os_hash_algo": "sha512", "os_hash_value": "ab" * 64, "checksum": "x" * 32},
    ],
)
def test_hashes_that_cannot_be(open_api: Api, web: str, values: Mapping[str, str]) -> None:
    path = open_api.alice.create(**FORMATS)
    assert open_api.alice.patch(path, add(f"{web}/one", validation_data=values)).status_code == 409
    assert open_api.alice.get(path).json["status"] == "queued"


def test_more_locations(open_api: Api, web: str) -> None:
    path = open_api.alice.create(**FORMATS)
    assert open_api.alice.patch(path, replace(f"{web}/one")).status_code == 200
    assert open_api.alice.patch(path, add(f"{web}/one#new")).status_code == 200
    assert open_api.alice.patch(path, add(f"{web}/one")).status_code == 400
    assert open_api.alice.patch(path, add(f"{web}/two", "9")).status_code == 400
    assert open_api.alice.patch(path, replace(f"{web}/two")).status_code == 400
    assert open_api.alice.patch(path, replace()).status_code == 403
    shown = [location["url"] for location in open_api.alice.get(path).json["locations"]]
    assert shown == [f"{web}/one", f"{web}/one#new"]
    labelled = [{"url": url, "metadata": {"label": url[-1]}} for url in shown]
    operation = [{"op": "replace", "path": "/locations", "value": labelled}]
    image = open_api.alice.patch(path, operation).json
    assert [location["metadata"]["label"] for location in image["locations"]] == ["e", "w"]


def test_removal_is_for_administrators_and_not_of_the_last(open_api: Api, web: str) -> None:
    path = open_api.alice.create(**FORMATS)
    assert open_api.admin.patch(path, remove(0)).status_code == 409
    for name in ("one", "two"):
        open_api.alice.patch(path, add(f"{web}/{name}"))
    assert open_api.alice.patch(path, remove(0)).status_code == 403
    assert open_api.admin.patch(path, remove(2)).status_code == 400
    assert open_api.admin.patch(path, remove(0)).status_code == 200
    assert open_api.admin.patch(path, remove(0)).status_code == 403
    assert [location["url"] for location in open_api.alice.get(path).json["locations"]] == [f"{web}/two"]


def test_urls_that_are_none(open_api: Api, web: str, tmp_path: Path) -> None:
    path = open_api.alice.create(**FORMATS)
    secret = tmp_path / "main" / "secret"
    secret.write_bytes(b"x")
    for url in (
        "gopher://127.0.0.1/x",
        f"file://{secret}",
        f"filesystem://{secret}",
        "file:///etc/passwd",
        "swift+config://ref/container/object",
        "rbd://pool/image",
        f"{web}/missing",
        f"{web}/empty",
        "http://127.0.0.1:1/x",
        "http://10.0.0.1/x",
        "",
        "x",
    ):
        answer = open_api.admin.patch(path, add(url))
        assert answer.status_code == 400, url
        assert "passwd" not in message(answer)
    entries: list[Any] = [{"url": f"{web}/one"}, {"metadata": {}}, {"url": 5, "metadata": {}}, "x"]
    for entry in [*entries, {"url": "x" * 256, "metadata": {}}]:
        operation = [{"op": "add", "path": "/locations/-", "value": entry}]
        assert open_api.admin.patch(path, operation).status_code == 400, entry
    assert open_api.alice.get(path).json["status"] == "queued"


def test_statuses_and_formats(open_api: Api, web: str) -> None:
    bare = open_api.alice.create()
    assert open_api.alice.patch(bare, add(f"{web}/one")).status_code == 400
    path = open_api.alice.active(b"data")
    assert open_api.alice.post(f"{path}/actions/deactivate").status_code == 204
    assert open_api.alice.patch(path, add(f"{web}/one")).status_code == 409
    assert open_api.alice.get(path).json["locations"] == []
    assert len(open_api.admin.get(path).json["locations"]) == 1


def test_the_data_of_another_image_stays_its_own(open_api: Api) -> None:
    """Or a user could delete it with the image that points at it."""
    theirs = open_api.bob.active(b"bobs data")
    url = open_api.bob.get(theirs).json["locations"][0]["url"]
    mine = open_api.alice.create(**FORMATS)
    assert open_api.alice.patch(mine, add(url)).status_code == 400
    assert open_api.nova.post(f"{mine}/locations", {"url": url}).status_code in (202, 404)
    assert open_api.alice.get(mine).json["status"] == "queued"
    assert open_api.bob.get(f"{theirs}/file").content == b"bobs data"


def test_the_number_of_locations_is_limited(make_api: Callable[..., Api], open_api: Api, web: str) -> None:
    path = open_api.alice.create(**FORMATS)
    for number in range(10):
        assert open_api.alice.patch(path, add(f"{web}/one#{number}")).status_code == 200
    assert open_api.alice.patch(path, add(f"{web}/one#10")).status_code == 413


def test_locations_of_foreign_images_are_not_shown(open_api: Api, web: str) -> None:
    path = open_api.admin.create(visibility="public", owner=open_api.alice.project, **FORMATS)
    open_api.admin.patch(path, add(f"{web}/one"))
    seen = open_api.bob.get(path).json
    assert seen["locations"] == []
    assert not {"direct_url", "stores"} & set(seen)
    assert open_api.rita.get(path).json["direct_url"] == f"{web}/one"


@pytest.mark.parametrize(
    ("name", "declared", "virtual_size"),
    [("disk.qcow2", "qcow2", 1 << 20), ("fixed.vhd", "vhd", 8 << 20), ("other.img", "raw", 3 << 20)],
)
def test_a_disk_is_what_its_image_says(open_api: Api, web: str, name: str, declared: str, virtual_size: int) -> None:
    path = open_api.alice.create(**{**FORMATS, "disk_format": declared})
    image = open_api.alice.patch(path, add(f"{web}/{name}")).json
    assert (image["status"], image["virtual_size"]) == ("active", virtual_size)
    newer = open_api.alice.create(**{**FORMATS, "disk_format": declared})
    assert post(open_api.alice, newer, f"{web}/{name}").status_code == 202
    image = open_api.alice.get(newer).json
    assert (image["status"], image["virtual_size"]) == ("active", virtual_size)
    work(open_api)


@pytest.mark.parametrize(
    ("name", "declared"),
    [("backed.qcow2", "qcow2"), ("backed.qcow2", "raw"), ("other.img", "qcow2"), ("other.img", "vhd")],
)
def test_a_disk_that_must_not_be(open_api: Api, web: str, name: str, declared: str) -> None:
    path = open_api.alice.create(**{**FORMATS, "disk_format": declared})
    refused = open_api.alice.patch(path, add(f"{web}/{name}"))
    assert refused.status_code == 415, refused.text
    assert message(refused).startswith("Image refused: ")
    assert post(open_api.alice, path, f"{web}/{name}").status_code == 202
    task = task_of(open_api.alice, path)
    assert task["status"] == "failure"
    assert task["message"].startswith("Image refused: ")
    image = open_api.alice.get(path).json
    assert (image["status"], image["size"], image["locations"]) == ("queued", None, [])


def test_the_format_may_come_in_the_same_patch(open_api: Api, web: str) -> None:
    path = open_api.alice.create(container_format="bare")
    format_first = [{"op": "replace", "path": "/disk_format", "value": "qcow2"}]
    assert open_api.alice.patch(path, [*format_first, *add(f"{web}/backed.qcow2")]).status_code == 415
    assert open_api.alice.get(path).json["disk_format"] is None
    assert open_api.alice.patch(path, [*format_first, *add(f"{web}/disk.qcow2")]).status_code == 200


def test_what_no_disk_is_promised_for_is_not_looked_at(open_api: Api, web: str) -> None:
    path = open_api.alice.create(disk_format="raw", container_format="ova")
    assert open_api.alice.patch(path, add(f"{web}/backed.qcow2")).status_code == 200


# --- the newer call ---


def post(person: Person, path: str, url: str, **validation: str) -> Any:
    return person.post(f"{path}/locations", {"url": url, "validation_data": validation})


def work(api: Api) -> None:
    """What a worker does about all tasks that wait, those of earlier tests too."""
    done = 0
    while claim := api.service.database.write(
        lambda connection: task_queue.claim(connection, [location_import.TYPE], "test", location_import.LEASE_SECONDS)
    ):
        location_import.run(api.service, claim, api.service.buffers, CancelToken())
        done += 1
    assert done


def task_of(person: Person, path: str) -> Any:
    [task] = person.get(f"{path}/tasks").json["tasks"]
    return task


def test_a_location_with_its_hash(open_api: Api, web: str) -> None:
    path = open_api.alice.create(**FORMATS)
    digest = hashlib.sha256(DATA).hexdigest()
    answer = post(open_api.alice, path, f"{web}/one", os_hash_algo="sha256", os_hash_value=digest.upper())
    assert (answer.status_code, answer.content) == (202, b"")
    image = open_api.alice.get(path).json
    assert (image["status"], image["size"], image["os_hash_value"]) == ("importing", len(DATA), None)
    assert image["os_glance_import_task"]
    task = task_of(open_api.alice, path)
    assert (task["type"], task["status"]) == ("location_import", "pending")
    assert task["request_id"] == answer.headers["x-openstack-request-id"]
    assert task["input"]["loc_url"] == f"{web}/one"
    work(open_api)
    image = open_api.alice.get(path).json
    assert (image["status"], image["checksum"]) == ("active", hashlib.md5(DATA, usedforsecurity=False).hexdigest())
    assert (image["os_hash_algo"], image["os_hash_value"]) == ("sha256", digest)
    assert "os_glance_import_task" not in image
    task = task_of(open_api.alice, path)
    assert (task["status"], task["result"]) == ("success", {"image_id": image_id(path)})


def test_a_location_without_one(open_api: Api, web: str) -> None:
    path = open_api.alice.create(**FORMATS)
    assert post(open_api.alice, path, f"{web}/one").status_code == 202
    image = open_api.alice.get(path).json
    assert (image["status"], image["size"]) == ("active", len(DATA))
    assert (image["os_hash_algo"], image["os_hash_value"], image["checksum"]) == ("sha512", None, None)
    assert open_api.alice.get(f"{path}/file").content == DATA
    work(open_api)
    assert open_api.alice.get(path).json["os_hash_value"] == hashlib.sha512(DATA).hexdigest()


def test_a_hash_that_is_wrong(open_api: Api, web: str) -> None:
    path = open_api.alice.create(**FORMATS)
    post(open_api.alice, path, f"{web}/one", os_hash_algo="md5", os_hash_value="0" * 32)
    work(open_api)
    image = open_api.alice.get(path).json
    assert (image["status"], image["size"], image["locations"]) == ("queued", None, [])
    assert (image["os_hash_algo"], image["os_hash_value"], image["checksum"]) == (None, None, None)
    task = task_of(open_api.alice, path)
    assert task["status"] == "failure"
    assert "not the one that was given" in task["message"]
    # The store is named, as the protocol has it, and leads to nothing.
    assert (image["stores"], open_api.alice.get(f"{path}/file").status_code) == ("web", 204)
    assert "direct_url" not in image
    assert post(open_api.alice, path, f"{web}/one").status_code == 202
    work(open_api)
    assert open_api.alice.get(path).json["stores"] == "web"
    assert not _refused(open_api, path)


def _refused(api: Api, path: str) -> bool:
    with api.service.database.read() as connection:
        return service_notes.REFUSED_STORE in service_notes.of_image(connection, image_id(path))


def test_an_upload_takes_the_place_of_data_that_was_refused(open_api: Api, web: str) -> None:
    path = open_api.alice.create(**FORMATS)
    post(open_api.alice, path, f"{web}/one", os_hash_algo="md5", os_hash_value="0" * 32)
    work(open_api)
    assert (open_api.alice.get(path).json["stores"], _refused(open_api, path)) == ("web", True)
    open_api.alice.upload(path, b"other data")
    assert (open_api.alice.get(path).json["stores"], _refused(open_api, path)) == ("main", False)
    assert open_api.alice.get(f"{path}/file").content == b"other data"
    assert open_api.alice.delete(path).status_code == 204


def test_a_refused_store_is_for_those_who_may_see_locations(open_api: Api, web: str) -> None:
    path = open_api.alice.create(visibility="community", **FORMATS)
    post(open_api.alice, path, f"{web}/one", os_hash_algo="md5", os_hash_value="0" * 32)
    work(open_api)
    assert open_api.alice.get(path).json["stores"] == "web"
    assert "stores" not in open_api.bob.get(path).json


def test_who_may_not_add_a_location_learns_nothing_of_addresses(open_api: Api) -> None:
    forbidden = "http://10.0.0.1/x"
    assert post(open_api.alice, open_api.alice.active(b"data"), forbidden).status_code == 409
    path = open_api.alice.create(**FORMATS)
    assert post(open_api.bob, path, forbidden).status_code == 404
    assert post(open_api.rita, path, forbidden).status_code == 403
    assert post(open_api.alice, path, forbidden).status_code == 400


def told(api: Api, log: pytest.LogCaptureFixture, path: str) -> list[str]:
    """The events about an image since the last time; workers do what earlier tests have left, too."""
    assert api.service.notifier.drain(10)
    events = [json.loads(record.message) for record in log.records if record.name == "imageservice.events"]
    log.clear()
    return [event["event_type"] for event in events if image_id(path) in str(event["payload"])]


def test_what_becomes_of_a_location_is_told(open_api: Api, web: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "imageservice.events")
    path = open_api.alice.create(**FORMATS)
    open_api.alice.patch(path, add(f"{web}/one"))
    assert told(open_api, caplog, path) == ["image.create", "image.activate", "image.update"]
    open_api.alice.patch(path, add(f"{web}/two"))
    assert told(open_api, caplog, path) == ["image.update"]
    path = open_api.alice.create(**FORMATS)
    post(open_api.alice, path, f"{web}/missing")
    assert told(open_api, caplog, path) == ["image.create", "task.create", "task.failure"]
    post(open_api.alice, path, f"{web}/one", os_hash_algo="md5", os_hash_value="0" * 32)
    work(open_api)
    assert told(open_api, caplog, path) == ["task.create", "task.processing", "task.failure"]
    digest = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
    post(open_api.alice, path, f"{web}/one", os_hash_algo="md5", os_hash_value=digest)
    work(open_api)
    assert told(open_api, caplog, path) == ["task.create", "task.processing", "image.activate", "task.success"]
    path = open_api.alice.create(**FORMATS)
    post(open_api.alice, path, f"{web}/one")
    work(open_api)
    expected = ["image.create", "task.create", "image.activate", "task.processing", "task.success"]
    assert told(open_api, caplog, path) == expected


def test_a_location_that_is_wrong(open_api: Api, web: str) -> None:
    path = open_api.alice.create(**FORMATS)
    assert post(open_api.alice, path, f"{web}/missing").status_code == 202
    image = open_api.alice.get(path).json
    assert (image["status"], image["locations"], "os_glance_import_task" in image) == ("queued", [], False)
    task = task_of(open_api.alice, path)
    assert task["status"] == "failure"
    assert "no data" in task["message"]


def test_an_image_that_is_deleted_meanwhile(open_api: Api, web: str) -> None:
    path = open_api.alice.create(**FORMATS)
    post(open_api.alice, path, f"{web}/one", os_hash_algo="md5", os_hash_value="0" * 32)
    assert open_api.alice.delete(path).status_code == 204
    work(open_api)
    assert open_api.alice.get(path).status_code == 404


def test_a_request_whose_process_died_is_finished_by_a_worker(
    open_api: Api, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = open_api.alice.create(**FORMATS)
    with monkeypatch.context() as patch:
        patch.setattr(location_import, "attach", lambda service, task: None)
        patch.setattr(location_import, "LEASE_SECONDS", 0)
        post(open_api.alice, path, f"{web}/one")
    assert open_api.alice.get(path).json["status"] == "queued"
    work(open_api)
    assert open_api.alice.get(path).json["status"] == "active"


def test_an_image_deleted_once_its_data_was_read_ends_the_task(
    open_api: Api, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = open_api.alice.create(**FORMATS)
    post(open_api.alice, path, f"{web}/one")
    task = task_of(open_api.alice, path)
    read = location_import._read

    def read_and_deleted(*arguments: Any) -> Any:
        result = read(*arguments)
        assert open_api.alice.delete(path).status_code == 204
        return result

    monkeypatch.setattr(location_import, "_read", read_and_deleted)
    work(open_api)
    ended = open_api.admin.get(f"/v2/tasks/{task['id']}").json
    assert ended["status"] == "failure" and "No image found" in ended["message"]


def test_hashes_as_they_are_given(make_api: Callable[..., Api], open_api: Api, web: str) -> None:
    settings = open_api.service.settings
    api = make_api(
        stores=[store.model_dump(mode="json") for store in settings.all_stores],
        fetch=settings.fetch.model_dump(),
        api={"secure_hash": False},
    )
    path = api.alice.create(**FORMATS)
    post(api.alice, path, f"{web}/one", os_hash_algo="sha256", os_hash_value="ab" * 32)
    image = api.alice.get(path).json
    assert (image["status"], image["os_hash_value"], image["checksum"]) == ("active", "ab" * 32, None)
    assert task_of(api.alice, path)["status"] == "success"


def test_who_may_add_and_see(open_api: Api, web: str) -> None:
    path = open_api.alice.create(**FORMATS)
    assert post(open_api.bob, path, f"{web}/one").status_code == 404
    assert post(open_api.rita, path, f"{web}/one").status_code == 403
    assert post(open_api.admin, path, "rbd://x/y").status_code == 403
    assert open_api.alice.get(f"{path}/locations").status_code == 403
    assert open_api.admin.get(f"{path}/locations").json == []
    assert post(open_api.alice, path, f"{web}/one").status_code == 202
    shown = open_api.admin.get(f"{path}/locations").json
    assert shown == [{"url": f"{web}/one", "metadata": {"store": "web"}}]
    public = open_api.admin.create(visibility="public", **FORMATS)
    assert open_api.nova.get(f"{public}/locations").json == []
    assert post(open_api.nova, public, f"{web}/two", store="web").status_code == 202
    assert post(open_api.nova, public, f"{web}/two").status_code == 409
    helped = {"X-Service-Token": str(open_api.nova.token)}
    assert open_api.alice.get(f"{path}/locations", headers=helped).json == shown


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"url": ""},
        {"url": 5},
        {"url": "x" * 256},
        {"url": "http://x/y", "extra": 1},
        {"url": "http://x/y", "validation_data": []},
        {"url": "http://x/y", "validation_data": {"os_hash_algo": "sha256"}},
        {"url": "http://x/y", "validation_data": {"os_hash_value": "ab"}},
        {"url": "http://x/y", "validation_data": {"os_hash_algo": "sha3", "os_hash_value": "ab"}},
        {"url": "http://x/y", "validation_data": {"os_hash_algo": "sha256", "os_hash_value": "ab" * 16}},
        {"url": "http://x/y", "validation_data": {"os_hash_algo": "md5", "os_hash_value": "xy" * 16}},
        {"url": "http://x/y", "validation_data": {"os_hash_algo": 5, "os_hash_value": "xy" * 16}},
        {"url": "http://x/y", "validation_data": {"other": "x"}},
    ],
    ids=lambda body: str(body)[-50:],
)
def test_bodies_that_make_no_sense(open_api: Api, body: Any) -> None:
    path = open_api.alice.create(**FORMATS)
    assert open_api.alice.post(f"{path}/locations", body).status_code == 400


def test_the_catalog_is_left_in_order(open_api: Api, web: str) -> None:
    """Nothing of a failed addition stays behind."""
    path = open_api.alice.create(**FORMATS)
    post(open_api.alice, path, f"{web}/missing")
    with open_api.service.database.read() as connection:
        image = image_records.get(connection, image_id(path))
    assert (image.locations, image.service, image.size) == ((), {}, None)
