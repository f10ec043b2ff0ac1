"""A real Ceph gets raw images by itself: it starts guests from nothing else. The others stay what they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.host.system import process
from pipeline.imageservice.importing.job import conversion
from pipeline.publishing.cloud import ownership_marker
from tests.environments.ceph import POOL, Ceph
from tests.environments.daemon import scratch
from tests.environments.fixtures import needed
from tests.environments.imageservice import ImageService, image_service
from tests.integration.imageservice.importing.conftest import ask, ended, settings, stage
from tests.integration.imageservice.importing.web import Web
from tests.integration.imageservice.lifecycle.transfer.test_upload import signed

pytestmark = pytest.mark.server
DISK = bytes(range(256)) * 4096 + bytes(1 << 20)


@pytest.fixture(scope="module")
def qcow2(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("disk")
    (folder / "raw").write_bytes(DISK)
    process.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", folder / "raw", folder / "qcow2"])
    return (folder / "qcow2").read_bytes()


def with_ceph(folder: Path, ceph: Ceph, **imports: Any) -> dict[str, Any]:
    said = settings(folder, **imports)
    return {**said, "stores": [*said["stores"], _store(ceph, "ceph"), _store(ceph, "ceph-2")]}


def _store(ceph: Ceph, name: str) -> dict[str, Any]:
    return {"id": name, "type": "rbd", "pool": POOL, "ceph_conf": str(ceph.glance_conf)}


@pytest.fixture(scope="module")
def service(ceph: Ceph) -> Iterator[ImageService]:
    needed("rbd", "python3-rbd")
    with scratch("rbd-raw") as folder, image_service(folder, **with_ceph(folder, ceph)) as running:
        yield running
        assert "Traceback" not in running.log.read_text()


def imported(service: ImageService, data: bytes, stores: list[str], **fields: str) -> dict[str, Any]:
    image_id = service.create("alice", disk_format="qcow2", **fields)
    assert stage(service, image_id, data).status_code == 204
    assert ask(service, image_id, "glance-direct", stores=stores).status_code == 202
    task = ended(service, image_id)
    assert task["status"] == "success", task
    return {**service.show(image_id), "told": task["progress"].get("convert", {})}


@pytest.mark.parametrize("stores", [["ceph"], ["ceph", "ceph-2"]])
def test_where_only_ceph_is_to_have_it_a_disk_becomes_raw(
    service: ImageService, qcow2: bytes, stores: list[str]
) -> None:
    shown = imported(service, qcow2, stores)
    assert (shown["disk_format"], shown["size"], shown["virtual_size"]) == ("raw", len(DISK), len(DISK))
    assert shown["os_hash_value"] == hashlib.sha512(DISK).hexdigest()
    assert shown["told"]["state"] == "done"
    assert shown["told"]["history"][0].endswith("to raw, as all its stores are RBD and imports.plugins is not set")
    assert service.request("GET", f"/v2/images/{shown['id']}/file").content == DISK


@pytest.mark.parametrize("stores", [["one"], ["ceph", "one"]])
def test_where_another_store_has_it_too_it_stays(service: ImageService, qcow2: bytes, stores: list[str]) -> None:
    shown = imported(service, qcow2, stores)
    assert (shown["disk_format"], shown["size"], shown["told"]) == ("qcow2", len(qcow2), {})


def test_who_counts_on_the_bytes_gets_them(service: ImageService, qcow2: bytes) -> None:
    for fields, why in (
        (signed(service, qcow2), "it is signed"),
        ({ownership_marker.SHA512: hashlib.sha512(qcow2).hexdigest()}, "it carries the pipeline's marks"),
    ):
        shown = imported(service, qcow2, ["ceph"], **fields)
        assert (shown["disk_format"], shown["checksum"]) == ("qcow2", hashlib.md5(qcow2).hexdigest())
        assert shown["told"]["history"][0].endswith(f"kept as qcow2, which Ceph starts no guest from: {why}")


def test_a_digest_that_was_given_holds_for_what_is_kept(service: ImageService, qcow2: bytes, origin: Web) -> None:
    origin.files["disk.qcow2"] = qcow2
    uri = origin.url("/disk.qcow2")
    for checksum, kept in ((f"sha256:{hashlib.sha256(qcow2).hexdigest()}", "qcow2"), (None, "raw")):
        image_id = service.create("alice", disk_format="qcow2")
        more = {} if checksum is None else {"checksum": checksum}
        assert ask(service, image_id, "web-download", uri=uri, stores=["ceph"], **more).status_code == 202
        task = ended(service, image_id)
        assert task["status"] == "success", task
        assert service.show(image_id)["disk_format"] == kept
        assert ("its digest was given" in task["progress"]["convert"]["history"][0]) == (kept == "qcow2")


def test_the_service_says_for_which_stores(service: ImageService) -> None:
    said = service.request("GET", "/v2/info/import", "alice").json()
    assert said["import-conversion"]["value"] == {"ceph": "raw", "ceph-2": "raw"}


def test_it_can_be_turned_off(ceph: Ceph, qcow2: bytes) -> None:
    with scratch("rbd-kept") as folder, image_service(folder, **with_ceph(folder, ceph, plugins=[])) as service:
        shown = imported(service, qcow2, ["ceph"])
        assert (shown["disk_format"], shown["told"]) == ("qcow2", {})
        assert service.request("GET", "/v2/info/import", "alice").json()["import-conversion"]["value"] == {}


def test_the_marks_are_the_pipelines() -> None:
    assert conversion.MARKS == ownership_marker.PREFIX
