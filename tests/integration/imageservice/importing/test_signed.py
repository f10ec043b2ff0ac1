"""Signed images whose certificates lie in a key manager: fetched when the import is asked for, with that token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from pipeline.base.home import Home
from pipeline.signing import image_signature
from pipeline.signing.keys.keyring import Keyring
from tests.environments import barbican as environment
from tests.environments.barbican import Barbican
from tests.environments.daemon import scratch, wait_until
from tests.environments.deployed_service import with_keystone
from tests.environments.fixtures import installed
from tests.environments.imageservice import ImageService, image_service
from tests.environments.keystone import Keystone
from tests.integration.imageservice.importing.conftest import settings
from tests.integration.imageservice.importing.web import Web
from tests.integration.imageservice.server.plain_app import pattern
from tests.integration.signing.keys.test_key_manager import manager

pytestmark = [pytest.mark.server, pytest.mark.long]
DATA = pattern((1 << 20) + 3)


@pytest.fixture(scope="module")
def barbican(keystone: Keystone) -> Iterator[Barbican]:
    with installed(environment.barbican(keystone)) as server:
        yield server


@pytest.fixture(scope="module")
def signing(keystone: Keystone, barbican: Barbican) -> Iterator[ImageService]:
    """Takes the key manager from the caller's catalog."""
    identity = with_keystone(keystone)["identity"]
    with scratch("signing") as folder:
        more = {"identity": identity, "data": {"key_manager": "catalog", "certificates": str(folder / "none")}}
        with image_service(folder, **settings(folder), **more) as running:
            yield running
            assert "Traceback" not in running.log.read_text()


def call(service: ImageService, token: str, method: str, path: str, **more: Any) -> requests.Response:
    headers = {"X-Auth-Token": token}
    return requests.request(method, service.url + path, headers=headers, timeout=60, **more)


def ended(service: ImageService, token: str, image_id: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def over() -> bool:
        found[:] = call(service, token, "GET", f"/v2/images/{image_id}/tasks").json()["tasks"]
        return found[0]["status"] in ("success", "failure")

    wait_until(over, "the import is over")
    return found[0]


def test_the_certificate_is_fetched_when_the_import_is_asked_for(
    signing: ImageService, keystone: Keystone, origin: Web, home: Home, tmp_path: Path
) -> None:
    keyring = Keyring(home, passphrases=lambda _: None)
    signer = keyring.signer("default")
    kept = manager(keystone).store(keyring.certificates.get(signer.certificate), "image signing key")
    image = tmp_path / "image"
    image.write_bytes(DATA)
    properties = dict(image_signature.sign(image, signer).properties)
    properties[image_signature.CERTIFICATE] = kept.rpartition("/")[2]
    fields = {"name": "x", "disk_format": "raw", "container_format": "bare", **properties}
    origin.files |= {"signed.img": DATA, "other.img": DATA[:-1] + b"x"}
    demo, alt = keystone.token("demo"), keystone.token("alt")

    def ask(token: str, name: str) -> tuple[requests.Response, str]:
        image_id = str(call(signing, token, "POST", "/v2/images", json=fields).json()["id"])
        body = {"method": {"name": "web-download", "uri": origin.url(f"/{name}")}, "all_stores": True}
        return call(signing, token, "POST", f"/v2/images/{image_id}/import", json=body), image_id

    taken, good = ask(demo, "drip/signed.img")
    assert taken.status_code == 202, taken.text
    wrong, bad = ask(demo, "other.img")
    assert wrong.status_code == 202
    refused, _ = ask(alt, "signed.img")
    assert (refused.status_code, "no certificate" in refused.text) == (400, True), refused.text
    # What was asked for does not need the key manager any more.
    with keystone.connect("demo") as connection:
        url = connection.session.get_endpoint(service_type="key-manager", interface="public")
        secret = f"{url.rstrip('/')}/v1/secrets/{properties[image_signature.CERTIFICATE]}"
        assert connection.session.delete(secret).status_code == 204
    origin.hurry("signed.img")
    assert ended(signing, demo, good)["status"] == "success"
    assert call(signing, demo, "GET", f"/v2/images/{good}").json()["stores"] == "one,three,two"
    failed = ended(signing, demo, bad)
    assert failed["status"] == "failure"
    assert "Signature verification failed" in failed["message"]
