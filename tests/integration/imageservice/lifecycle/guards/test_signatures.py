"""A signature counts on every way in: no image with a false one is ever active."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.imageservice.catalog.database import migrate
from pipeline.imageservice.catalog.database.connection import Database
from pipeline.imageservice.lifecycle.guards import signatures
from pipeline.imageservice.stores.file.io import FileWriter
from pipeline.signing.image_signature import PROPERTIES
from pipeline.signing.trust.certificates import Authority, LocalCertificates
from tests.integration.imageservice.api.conftest import make_api  # noqa: F401
from tests.integration.imageservice.api.images.test_locations import FORMATS, add, post, task_of
from tests.integration.imageservice.api.shelf import ShelfApi, shelf_api
from tests.integration.imageservice.api.world import Api, Person, image_id, message
from tests.integration.imageservice.lifecycle.guards.test_objects import work

DATA, OTHER = b"what was signed" * 100, b"something else!" * 100
TRUSTED, STRANGER = (Authority.new(ec.generate_private_key(ec.SECP384R1())) for _ in range(2))
METHODS = {"SHA-256": hashes.SHA256(), "SHA-512": hashes.SHA512()}


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """A database: what is tried here does not depend on its kind."""
    url = f"sqlite:///{tmp_path}/catalog.db"
    migrate.upgrade(Database(url))
    return url


@pytest.fixture
def certificates(tmp_path: Path) -> LocalCertificates:
    (tmp_path / "certificates").mkdir()
    return LocalCertificates(tmp_path / "certificates")


Signs = Callable[..., dict[str, str]]


@pytest.fixture
def sign(certificates: LocalCertificates) -> Signs:
    def signed(data: bytes, method: str = "SHA-256", authority: Authority = TRUSTED) -> dict[str, str]:
        key = ec.generate_private_key(ec.SECP384R1())
        values = (
            base64.b64encode(key.sign(data, ec.ECDSA(METHODS[method]))).decode(),
            method,
            "ECC_SECP384R1",
            certificates.add(authority.issue(key.public_key(), "test", days=10)),
        )
        return dict(zip(PROPERTIES, values, strict=True))

    return signed


@pytest.fixture(params=[True, False], ids=["hashed", "as they are given"])
def shelf(
    request: pytest.FixtureRequest,
    make_api: Callable[..., Api],  # noqa: F811
    tmp_path: Path,
    certificates: LocalCertificates,
) -> Iterator[ShelfApi]:
    yield shelf_api(
        make_api,
        tmp_path,
        api={"show_locations": True, "secure_hash": request.param, "version_1": True},
        data={
            "certificates": str(tmp_path / "certificates"),
            "trusted_certificates": [certificates.add(TRUSTED.certificate)],
        },
    )


def patch_in(shelf: ShelfApi, person: Person, path: str, url: str) -> int:
    return int(person.patch(path, add(url)).status_code)


def replace_in(shelf: ShelfApi, person: Person, path: str, url: str) -> int:
    operations = [{"op": "replace", "path": "/locations", "value": [{"url": url, "metadata": {}}]}]
    return int(person.patch(path, operations).status_code)


def post_in(shelf: ShelfApi, person: Person, path: str, url: str, **validation: str) -> int:
    status = int(post(person, path, url, **validation).status_code)
    if status == 202:
        assert person.get(path).json["status"] == "importing"
        work(shelf)
    return status


def post_with_hash(shelf: ShelfApi, person: Person, path: str, url: str) -> int:
    data = Path(url.partition("://")[2]).read_bytes()
    return post_in(shelf, person, path, url, os_hash_algo="sha512", os_hash_value=hashlib.sha512(data).hexdigest())


WAYS = [patch_in, replace_in, post_in, post_with_hash]


@pytest.mark.parametrize("way", WAYS)
def test_a_location_has_to_fit(shelf: ShelfApi, sign: Signs, way: Callable[..., int]) -> None:
    nova = shelf.api.nova
    good, bad = shelf.put("good", DATA), shelf.put("bad", OTHER)
    path = nova.create(**FORMATS, **sign(DATA))
    assert way(shelf, nova, path, bad) in (400, 202)
    image = nova.get(path).json
    assert (image["status"], image["size"], image["locations"]) == ("queued", None, [])
    assert way(shelf, nova, path, good) in (200, 202)
    image = nova.get(path).json
    assert (image["status"], image["checksum"]) == ("active", hashlib.md5(DATA, usedforsecurity=False).hexdigest())
    assert nova.get(f"{path}/file").content == DATA


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", ["incomplete", "untrusted", "missing"])
def test_a_signature_that_does_not_count(shelf: ShelfApi, sign: Signs, way: Callable[..., int], fault: str) -> None:
    nova, properties = shelf.api.nova, sign(DATA, authority=STRANGER if fault == "untrusted" else TRUSTED)
    if fault == "incomplete":
        del properties["img_signature_key_type"]
    if fault == "missing":
        properties["img_signature_certificate_uuid"] = "0a0b0c0d-0000-4000-8000-000000000002"
    path = nova.create(**FORMATS, **properties)
    assert way(shelf, nova, path, shelf.put("good", DATA)) == 400
    assert nova.get(path).json["status"] == "queued"


def test_a_further_location_of_a_signed_image_has_to_fit_too(shelf: ShelfApi, sign: Signs) -> None:
    alice = shelf.api.alice
    path = alice.active(DATA, **FORMATS, **sign(DATA))
    assert alice.patch(path, add(shelf.put("bad", OTHER))).status_code == 400
    assert alice.patch(path, add(shelf.put("good", DATA))).status_code == 200


def test_what_is_too_large_to_be_read_at_once(shelf: ShelfApi, sign: Signs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "READ_IN_REQUEST", len(DATA) - 1)
    nova, url = shelf.api.nova, shelf.put("good", DATA)
    path = nova.create(**FORMATS, **sign(DATA))
    refused = nova.patch(path, add(url))
    assert refused.status_code == 409
    assert f"POST /v2/images/{image_id(path)}/locations" in message(refused)
    assert post_in(shelf, nova, path, url) == 202
    assert nova.get(path).json["status"] == "active"
    # No limit where nothing is signed, and nothing is read.
    assert nova.patch(nova.create(**FORMATS), add(shelf.put("plain", OTHER))).status_code == 200


def to(properties: dict[str, str], verb: str = "add") -> list[dict[str, Any]]:
    return [{"op": verb, "path": f"/{name}", "value": value} for name, value in properties.items()]


@pytest.mark.parametrize("method", METHODS)
def test_a_signature_for_an_active_image_has_to_fit(shelf: ShelfApi, sign: Signs, method: str) -> None:
    alice = shelf.api.alice
    path = alice.active(DATA, **FORMATS)
    good, bad = sign(DATA, method), sign(OTHER, method)
    assert alice.patch(path, to(bad)).status_code == 400
    assert alice.patch(path, to({**good, "img_signature": bad["img_signature"]})).status_code == 400
    assert alice.patch(path, to(dict(list(good.items())[:3]))).status_code == 400
    assert alice.patch(path, to(sign(DATA, method, STRANGER))).status_code == 400
    assert not set(PROPERTIES) & set(alice.get(path).json)
    assert alice.patch(path, to(good)).status_code == 200
    assert alice.patch(path, to(sign(DATA, method), "replace")).status_code == 200
    assert alice.patch(path, to(bad, "replace")).status_code == 400
    assert alice.patch(path, [{"op": "remove", "path": "/img_signature_key_type"}]).status_code == 400
    assert alice.patch(path, [{"op": "add", "path": "/other", "value": "x"}]).status_code == 200
    assert alice.patch(path, [{"op": "remove", "path": f"/{name}"} for name in PROPERTIES]).status_code == 200
    assert alice.post(f"{path}/actions/deactivate").status_code == 204
    assert alice.patch(path, to(bad)).status_code == 400


def test_the_known_digest_is_enough(shelf: ShelfApi, sign: Signs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without reading: where the algorithm is another one, what cannot be read is refused."""
    monkeypatch.setattr(signatures, "READ_IN_REQUEST", 0)
    alice = shelf.api.alice
    path = alice.active(DATA, **FORMATS)
    refused = alice.patch(path, to(sign(DATA, "SHA-256")))
    assert refused.status_code == 409 and "os_hash_algo" in message(refused)
    assert alice.patch(path, to(sign(DATA, "SHA-512"))).status_code == 200


def test_the_first_version_checks_it_too(shelf: ShelfApi, sign: Signs) -> None:
    alice = shelf.api.alice
    path = alice.active(DATA, **FORMATS)
    old = f"/v1/images/{image_id(path)}"

    def put(properties: dict[str, str]) -> int:
        headers = {f"x-image-meta-property-{name}": value for name, value in properties.items()}
        return alice.call("PUT", old, headers=headers).status_code

    assert put(sign(OTHER)) == 400
    assert put(sign(DATA)) == 200


def test_a_signature_in_the_same_patch_as_a_location(shelf: ShelfApi, sign: Signs) -> None:
    alice, url = shelf.api.alice, shelf.put("good", DATA)
    path = alice.create(**FORMATS)
    assert alice.patch(path, [*to(sign(OTHER)), *add(url)]).status_code == 400
    assert alice.get(path).json["status"] == "queued"
    assert alice.patch(path, [*to(sign(DATA)), *add(url)]).status_code == 200
    other = alice.active(DATA, **FORMATS)
    assert alice.patch(other, [*to(sign(OTHER)), *add(shelf.put("second", OTHER))]).status_code == 400


def test_a_signature_that_comes_while_the_data_is_read(shelf: ShelfApi, sign: Signs) -> None:
    """An image that waits for its digests gets a signature which nobody checked with anything."""
    nova, url = shelf.api.nova, shelf.put("good", DATA)
    path = nova.create(**FORMATS, **sign(DATA))
    assert post(nova, path, url).status_code == 202
    assert nova.patch(path, to(sign(OTHER), "replace")).status_code == 200
    work(shelf)
    assert nova.get(path).json["status"] == "queued"
    assert "ignature" in task_of(nova, path)["message"]


def test_a_signature_that_comes_while_an_upload_runs(
    shelf: ShelfApi, sign: Signs, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = shelf.api.alice
    path = alice.create(**FORMATS)
    keep = FileWriter.commit

    def patched(self: FileWriter, **more: Any) -> Any:
        monkeypatch.setattr(FileWriter, "commit", keep)
        assert alice.patch(path, to(sign(OTHER))).status_code == 200
        return keep(self, **more)

    monkeypatch.setattr(FileWriter, "commit", patched)
    answer = alice.call("PUT", f"{path}/file", data=DATA, headers={"Content-Type": "application/octet-stream"})
    assert answer.status_code == 400
    assert alice.get(path).json["status"] == "queued"


def test_unsigned_images_are_as_before(shelf: ShelfApi) -> None:
    nova = shelf.api.nova
    path = nova.create(**FORMATS)
    assert post(nova, path, shelf.put("plain", DATA)).status_code == 202
    assert nova.get(path).json["status"] == "active"
    work(shelf)
    assert nova.patch(nova.create(**FORMATS), add(shelf.put("other", DATA))).status_code == 200
