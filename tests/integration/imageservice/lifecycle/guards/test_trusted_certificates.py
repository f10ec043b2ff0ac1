"""Only certificates that the trusted ones vouch for: at uploads and at imports, whatever the method."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.signing.trust.certificates import AUTHORITY_DAYS, Authority, LocalCertificates
from tests.environments.imageservice import ImageService, image_service

pytestmark = pytest.mark.server
MIB = 1 << 20
DATA = b"signed data" * 1000
TRUSTED, OTHER = (Authority.new(ec.generate_private_key(ec.SECP384R1())) for _ in range(2))
GONE = "0a0b0c0d-0000-4000-8000-000000000002"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageService]:
    folder = tmp_path_factory.mktemp("certificates")
    root = LocalCertificates(folder).add(TRUSTED.certificate)
    LocalCertificates(folder).add(OTHER.certificate)
    settings = {"certificates": str(folder), "trusted_certificates": [GONE, root]}
    with image_service(data=settings, fetch={"allowed_networks": ["127.0.0.1/32"], "allowed_ports": []}) as service:
        yield service


def signed(service: ImageService, authority: Authority, data: bytes = DATA, days: int = 10) -> str:
    """A new image that waits for ``data``, signed with a key that ``authority`` certified for so many days."""
    key = ec.generate_private_key(ec.SECP384R1())
    settings = json.loads((service.folder / "settings.yaml").read_text())
    store = LocalCertificates(Path(settings["data"]["certificates"]))
    return service.create(
        img_signature=base64.b64encode(key.sign(data, ec.ECDSA(hashes.SHA256()))).decode(),
        img_signature_hash_method="SHA-256",
        img_signature_key_type="ECC_SECP384R1",
        img_signature_certificate_uuid=store.add(authority.issue(key.public_key(), "test", days=days)),
    )


def stage(service: ImageService, image: str) -> requests.Response:
    headers = {"Content-Type": "application/octet-stream"}
    return service.request("PUT", f"/v2/images/{image}/stage", data=DATA, headers=headers)


def fetch(service: ImageService, image: str) -> requests.Response:
    method = {"name": "web-download", "uri": "http://127.0.0.1:9/nobody-asks-it"}
    return service.request("POST", f"/v2/images/{image}/import", json={"method": method})


@pytest.mark.parametrize("give", [lambda service, image: service.upload(image, DATA), stage, fetch])
def test_what_nobody_trusted_vouches_for_is_refused(service: ImageService, give: object) -> None:
    for authority, days, words in (
        (OTHER, 10, "no trusted certificate vouches"),
        (TRUSTED, 0, "is valid from"),
    ):
        image = signed(service, authority, days=days)
        answer = give(service, image)  # type: ignore[operator]
        assert answer.status_code == 400 and words in answer.text, answer.text
        assert service.show(image)["status"] == "queued"
    assert AUTHORITY_DAYS > 10  # or the root would be out of date, too


def test_what_is_vouched_for_is_taken(service: ImageService) -> None:
    assert service.upload(signed(service, TRUSTED), DATA).status_code == 204
    assert stage(service, signed(service, TRUSTED)).status_code == 204
    unsigned = service.create()
    assert service.upload(unsigned, DATA).status_code == 204


def test_an_upload_is_hashed_inspected_and_verified_without_reading_it_again(service: ImageService) -> None:
    def read() -> int:
        """What all processes have read from files."""
        return sum(int(Path(f"/proc/{pid}/io").read_text().split()[1]) for pid in service.processes())

    data = bytes(range(256)) * (32 * MIB // 256)
    image = signed(service, TRUSTED, data)
    before = read()
    assert service.upload(image, data).status_code == 204
    # Bytes from a socket don't count there, or count once.
    assert read() - before < len(data) + 4 * MIB
    assert service.show(image)["os_hash_value"] == hashlib.sha512(data).hexdigest()
