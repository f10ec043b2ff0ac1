"""Uploads: what is answered, and what is left when they fail."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.signing.trust.certificates import Authority, LocalCertificates
from tests.environments.daemon import wait_until
from tests.environments.imageservice import ImageService, image_service
from tests.integration.imageservice.server.plain_app import pattern

pytestmark = pytest.mark.server
MIB = 1 << 20
NOTHING = {
    "status": "queued",
    "size": None,
    "virtual_size": None,
    "checksum": None,
    "os_hash_algo": None,
    "os_hash_value": None,
}


def assert_untouched(service: ImageService, image_id: str) -> None:
    """The image waits for data, nothing of it is anywhere, and it can be uploaded."""
    shown = service.show(image_id)
    assert {name: shown[name] for name in NOTHING} == NOTHING
    assert "stores" not in shown
    assert not [path for path in service.files() if image_id in path.name]


def assert_takes(service: ImageService, image_id: str, data: bytes = b"fine", **headers: Any) -> None:
    answer = service.upload(image_id, data, **headers)
    assert answer.status_code == 204, answer.text
    assert service.show(image_id)["checksum"] == hashlib.md5(data).hexdigest()


def pieces(data: bytes, size: int = 65536) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


class Raw:
    """An upload that can be stopped at any byte."""

    def __init__(self, service: ImageService, image_id: str, length: int | None, *lines: str) -> None:
        location = urlsplit(service.url)
        self.socket = socket.create_connection((location.hostname, location.port), timeout=30)
        framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        header = [
            f"PUT /v2/images/{image_id}/file HTTP/1.1",
            "Host: x",
            "X-Auth-Token: alice-token",
            "Content-Type: application/octet-stream",
            framing,
            *lines,
            "",
            "",
        ]
        self.socket.sendall("\r\n".join(header).encode())

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> bytes:
        data = b""
        with contextlib.suppress(ConnectionError):
            while b"\r\n\r\n" not in data and (piece := self.socket.recv(65536)):
                data += piece
        return data


@pytest.fixture(scope="module")
def unhurried() -> Iterator[ImageService]:
    """A service that does not take an upload for dead before the tests are over."""
    with image_service(data={"upload_lease": 3600}) as running:
        yield running


def running_upload(service: ImageService, image_id: str, sent: int = 2 * MIB, announced: int = 50 * MIB) -> Raw:
    """An upload in the middle: the image is being saved, and there are bytes in the store."""
    raw = Raw(service, image_id, announced)
    raw.send(pattern(sent))
    wait_until(lambda: service.show(image_id)["status"] == "saving", "saving", seconds=20)
    wait_until(lambda: any(image_id in path.name for path in service.files()), "bytes", seconds=20)
    return raw


@pytest.mark.parametrize("size", [0, 1, 1000, MIB, 5 * MIB + 3])
@pytest.mark.parametrize("chunked", [True, False])
def test_an_image_gets_its_data(service: ImageService, size: int, chunked: bool) -> None:
    data = pattern(size)
    image_id = service.create()
    answer = service.upload(image_id, pieces(data) if chunked else data)
    assert (answer.status_code, answer.content) == (204, b"")
    shown = service.show(image_id)
    assert shown["status"] == "active"
    assert shown["size"] == shown["virtual_size"] == size
    assert shown["checksum"] == hashlib.md5(data).hexdigest()
    assert shown["os_hash_algo"] == "sha512"
    assert shown["os_hash_value"] == hashlib.sha512(data).hexdigest()
    assert shown["stores"] == "one"
    (file,) = [path for path in service.files() if image_id in path.name]
    assert file == service.folder / "stores" / "one" / image_id
    assert file.read_bytes() == data


def test_the_client_chooses_the_store(service: ImageService) -> None:
    image_id = service.create()
    assert service.upload(image_id, b"data", **{"X-Image-Meta-Store": "two"}).status_code == 204
    assert service.show(image_id)["stores"] == "two"
    assert (service.folder / "stores" / "two" / image_id).exists()


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("size", ["4", "0"])
def test_the_announced_size(service: ImageService, chunked: bool, size: str) -> None:
    answer = service.upload(
        service.create(), iter([b"data"]) if chunked else b"data", **{"X-OpenStack-Image-Size": size}
    )
    assert answer.status_code == 204, answer.text


@pytest.mark.parametrize(
    ("code", "headers"),
    [
        (415, {"Content-Type": ""}),
        (415, {"Content-Type": "application/json"}),
        (415, {"Content-Type": "text/plain"}),
        (400, {"X-OpenStack-Image-Size": "many"}),
        (400, {"X-OpenStack-Image-Size": "-1"}),
        (400, {"X-OpenStack-Image-Size": "3"}),
        (400, {"X-OpenStack-Image-Size": "5"}),
        (400, {"X-Image-Meta-Store": "three"}),
    ],
)
@pytest.mark.parametrize("chunked", [True, False])
def test_refused_requests_leave_the_image_as_it_was(
    service: ImageService, code: int, headers: dict[str, str], chunked: bool
) -> None:
    image_id = service.create()
    answer = service.upload(image_id, iter([b"data"]) if chunked else b"data", **headers)
    assert answer.status_code == code, answer.text
    assert_untouched(service, image_id)
    assert_takes(service, image_id)


@pytest.mark.parametrize("missing", ["disk_format", "container_format"])
def test_formats_come_first(service: ImageService, missing: str) -> None:
    fields: dict[str, Any] = {missing: None}
    image_id = service.create(**fields)
    assert service.upload(image_id, b"data").status_code == 400
    assert_untouched(service, image_id)


def test_who_may_upload(service: ImageService) -> None:
    image_id = service.create()
    assert service.upload(str(uuid.uuid4()), b"data").status_code == 404
    assert service.upload(image_id, b"data", "bob").status_code == 404
    assert service.upload(image_id, b"data", "rita").status_code == 403
    public = service.create("admin", visibility="public")
    assert service.upload(public, b"data", "bob").status_code == 403
    assert service.upload(image_id, b"data", "nobody").status_code == 401
    assert_untouched(service, image_id)
    assert service.upload(image_id, b"data", "admin").status_code == 204


def test_data_comes_once(service: ImageService) -> None:
    image_id = service.create()
    assert_takes(service, image_id)
    assert service.upload(image_id, b"other").status_code == 409
    assert service.show(image_id)["checksum"] == hashlib.md5(b"fine").hexdigest()


def test_parallel_uploads_have_one_winner(service: ImageService) -> None:
    image_id = service.create()
    contents = [pattern(3 * MIB + number) for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda data: service.upload(image_id, pieces(data)).status_code, contents))
    assert answers.count(204) == 1
    assert set(answers) <= {204, 409, 410}
    winner = contents[answers.index(204)]
    assert service.show(image_id)["checksum"] == hashlib.md5(winner).hexdigest()
    (file,) = [path for path in service.files() if image_id in path.name]
    assert file.read_bytes() == winner


def qcow2(backing: int = 0) -> bytes:
    """An empty QCOW2 image of 1 MiB, whole: header, refcount table and block, L1 table, a cluster each."""
    header = b"QFI\xfb" + (3).to_bytes(4, "big") + backing.to_bytes(8, "big") + (0).to_bytes(4, "big")
    header += (16).to_bytes(4, "big") + MIB.to_bytes(8, "big") + (0).to_bytes(4, "big")
    header += (1).to_bytes(4, "big") + (3 * 65536).to_bytes(8, "big") + (65536).to_bytes(8, "big")
    header += (1).to_bytes(4, "big") + bytes(4 + 8 + 8 + 8 + 8) + (4).to_bytes(4, "big") + (104).to_bytes(4, "big")
    table, counts = (2 * 65536).to_bytes(8, "big"), (1).to_bytes(2, "big") * 4
    return b"".join(cluster.ljust(65536, b"\0") for cluster in (header, table, counts, b""))


def test_the_virtual_size_is_read(service: ImageService) -> None:
    image_id = service.create(disk_format="qcow2")
    assert_takes(service, image_id, qcow2())
    assert service.show(image_id)["virtual_size"] == MIB


@pytest.mark.parametrize(
    ("declared", "data", "text"),
    [
        ("qcow2", pattern(MIB), "declared qcow2"),
        ("vmdk", qcow2(), "declared vmdk"),
        ("qcow2", qcow2(backing=512), "safety"),
        ("raw", qcow2(backing=512), "safety"),
        ("qcow2", qcow2()[:300], "qcow2"),
    ],
)
def test_other_data_than_declared_leaves_nothing(service: ImageService, declared: str, data: bytes, text: str) -> None:
    image_id = service.create(disk_format=declared)
    answer = service.upload(image_id, data)
    assert answer.status_code == 415
    assert text in answer.text
    assert_untouched(service, image_id)
    assert_takes_after_patch(service, image_id)


def assert_takes_after_patch(service: ImageService, image_id: str) -> None:
    answer = service.request(
        "PATCH",
        f"/v2/images/{image_id}",
        json=[{"op": "replace", "path": "/disk_format", "value": "raw"}],
        headers={"Content-Type": "application/openstack-images-v2.1-json-patch"},
    )
    assert answer.status_code == 200, answer.text
    assert_takes(service, image_id)


def signed(service: ImageService, data: bytes) -> dict[str, str]:
    """The properties that sign ``data``; the certificate is where the service looks for it."""
    key = ec.generate_private_key(ec.SECP384R1())
    authority = Authority.new(ec.generate_private_key(ec.SECP384R1()))
    store = LocalCertificates(service.folder / "certificates")
    identity = store.add(authority.issue(key.public_key(), "test"))
    signature = base64.b64encode(key.sign(data, ec.ECDSA(hashes.SHA256()))).decode()
    return {
        "img_signature": signature,
        "img_signature_hash_method": "SHA-256",
        "img_signature_key_type": "ECC_SECP384R1",
        "img_signature_certificate_uuid": identity,
    }


def test_signatures_are_checked(service: ImageService) -> None:
    data = pattern(3 * MIB)
    properties = signed(service, data)
    good = service.create(**properties)
    assert_takes(service, good, data)
    bad = service.create(**properties)
    answer = service.upload(bad, data[:-1] + b"x")
    assert answer.status_code == 400
    assert "ignature" in answer.text
    assert_untouched(service, bad)
    assert_takes(service, bad, data)


@pytest.mark.parametrize(
    "change",
    [
        {"img_signature_certificate_uuid": "0a0b0c0d-0000-4000-8000-000000000002"},
        {"img_signature_certificate_uuid": "../../token"},
        {"img_signature_hash_method": "MD5"},
        {"img_signature_key_type": "RSA-PSS"},
        {"img_signature": "no base64!"},
    ],
)
def test_signatures_that_cannot_be_checked_are_refused_before_the_data(
    service: ImageService, change: dict[str, str]
) -> None:
    image_id = service.create(**{**signed(service, b"x"), **change})
    raw = Raw(service, image_id, 100 * MIB, "Expect: 100-continue")
    assert raw.answer().startswith(b"HTTP/1.1 400")
    assert_untouched(service, image_id)
    assert str(service.folder) not in service.upload(image_id, b"x").text


@pytest.mark.parametrize("cut", ["FIN", "RST"])
def test_a_client_that_leaves_leaves_nothing(unhurried: ImageService, cut: str) -> None:
    service = unhurried
    image_id = service.create()
    raw = running_upload(service, image_id)
    if cut == "RST":
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    raw.socket.close()
    wait_until(lambda: service.show(image_id)["status"] == "queued", "queued, though the lease goes on", seconds=30)
    assert_untouched(service, image_id)
    assert_takes(service, image_id)


def test_a_client_that_stalls_is_given_up(service: ImageService) -> None:
    image_id = service.create()
    raw = running_upload(service, image_id)
    assert raw.answer().startswith(b"HTTP/1.1 408")
    assert_untouched(service, image_id)
    assert_takes(service, image_id)


def test_deleting_an_image_ends_its_upload(service: ImageService) -> None:
    image_id = service.create()
    raw = running_upload(service, image_id)
    assert service.request("DELETE", f"/v2/images/{image_id}").status_code == 204
    with contextlib.suppress(ConnectionError):
        while True:  # the client goes on sending until it is told
            raw.send(b"x")
            time.sleep(0.1)
            raw.socket.settimeout(0.01)
            with contextlib.suppress(TimeoutError):
                assert raw.answer().startswith(b"HTTP/1.1 410")
                break
    assert service.request("GET", f"/v2/images/{image_id}").status_code == 404
    assert not [path for path in service.files() if image_id in path.name]


def test_an_image_deleted_at_the_last_moment_stays_deleted(service: ImageService) -> None:
    image_id = service.create()
    raw = running_upload(service, image_id, sent=3 * MIB, announced=3 * MIB + 1)
    assert service.request("DELETE", f"/v2/images/{image_id}").status_code == 204
    raw.send(b"x")
    assert raw.answer().startswith(b"HTTP/1.1 410")
    assert service.request("GET", f"/v2/images/{image_id}").status_code == 404
    assert not [path for path in service.files() if image_id in path.name]


def test_after_a_kill_the_image_waits_again_when_the_lease_ends(service: ImageService) -> None:
    image_id = service.create()
    raw = running_upload(service, image_id)
    _kill_the_one_that_writes(service, image_id)
    raw.socket.close()
    wait_until(lambda: service.show(image_id)["status"] == "queued", "queued", seconds=10)
    assert_untouched(service, image_id)
    assert_takes(service, image_id)


def _kill_the_one_that_writes(service: ImageService, image_id: str) -> None:
    for pid in reversed(service.processes()):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if image_id in str(link.readlink()):
                    os.kill(pid, signal.SIGKILL)
                    return
    raise AssertionError("no process writes the image")


def test_a_living_upload_outlasts_its_lease(service: ImageService) -> None:
    image_id = service.create()
    raw = running_upload(service, image_id, sent=2 * MIB, announced=2 * MIB + 60)
    for _ in range(60):
        raw.send(b"x")
        time.sleep(0.1)
    assert raw.answer().startswith(b"HTTP/1.1 204")
    assert service.show(image_id)["size"] == 2 * MIB + 60


def test_an_object_of_a_dead_attempt_is_no_obstacle(service: ImageService) -> None:
    image_id = service.create()
    (service.folder / "stores" / "one" / image_id).write_bytes(b"orphan")
    assert_takes(service, image_id)
    # What somebody may still be about to delete gets no second life.
    assert (service.folder / "stores" / "one" / image_id).read_bytes() == b"orphan"
    [made] = [path for path in service.files("one") if path.name.startswith(f"{image_id}.")]
    assert made.read_bytes() == b"fine"


def test_a_full_store_is_said(small_disk: Callable[[int], Path]) -> None:
    disk = small_disk(4 * MIB)
    stores = [{"id": "one", "type": "file", "directories": [str(disk)]}]
    with image_service(stores=stores) as service:
        image_id = service.create()
        for data in (pattern(8 * MIB), pieces(pattern(8 * MIB))):
            answer = service.upload(image_id, data)
            assert answer.status_code == 413, answer.text
            assert "full" in answer.text or "room" in answer.text
            shown = service.show(image_id)
            assert {name: shown[name] for name in NOTHING} == NOTHING
            assert list(disk.iterdir()) == []
        assert service.upload(image_id, pattern(MIB)).status_code == 204


def test_limits(tmp_path: Path) -> None:
    quotas = {"image_size": 3 * MIB, "user_storage": "4 MB"}
    with image_service(quotas=quotas) as service:
        first, second = service.create(), service.create()
        for data in (pattern(3 * MIB + 1), pieces(pattern(3 * MIB + 1))):
            assert service.upload(first, data).status_code == 413
            assert_untouched(service, first)
        assert_takes(service, first, pattern(3 * MIB))
        for data in (pattern(MIB + 1), pieces(pattern(MIB + 1))):
            answer = service.upload(second, data)
            assert answer.status_code == 413
            assert "remaining" in answer.text
            assert_untouched(service, second)
        assert_takes(service, second, pattern(MIB))


def test_limits_of_the_project_are_not_passed_by_uploads_at_once() -> None:
    quotas = {"source": "settings", "default": {"image_size_total": 10, "image_count_uploading": 3}}
    with image_service(quotas=quotas) as service:
        images = [service.create() for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            codes = list(pool.map(lambda image: service.upload(image, pattern(4 * MIB)).status_code, images))
        assert set(codes) <= {204, 413}
        assert 1 <= codes.count(204) <= 2
        for image, code in zip(images, codes, strict=True):
            if code == 413:
                assert_untouched(service, image)


@pytest.mark.long
def test_ten_large_uploads_at_once_stay_within_the_budget() -> None:
    with image_service(data={"memory": 64 * MIB}, server={"processes": 1}) as service:
        images = [service.create() for _ in range(10)]
        workers = service.processes()
        before = {pid: _peak(pid) for pid in workers}
        size = 1 << 30
        threads = [threading.Thread(target=_upload_zeros, args=(service, image, size)) for image in images]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [service.show(image)["size"] for image in images] == [size] * 10
        assert max(_peak(pid) - before[pid] for pid in workers) < 120 * MIB


def _upload_zeros(service: ImageService, image_id: str, size: int) -> None:
    block = bytes(MIB)
    raw = Raw(service, image_id, size)
    for _ in range(size // MIB):
        raw.send(block)
    assert raw.answer().startswith(b"HTTP/1.1 204")


def _peak(pid: int) -> int:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024
