"""The key of an encrypted image goes with it, in a real key manager, with the rights of whoever deletes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from tests.environments import barbican as key_manager
from tests.environments.barbican import Barbican
from tests.environments.deployed_service import ImageService, image_service, with_keystone
from tests.environments.fixtures import installed
from tests.environments.keystone import Keystone

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def barbican(keystone: Keystone) -> Iterator[Barbican]:
    with installed(key_manager.barbican(keystone)) as server:
        yield server


@pytest.fixture(scope="module")
def service(keystone: Keystone, barbican: Barbican, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageService]:
    settings = {**with_keystone(keystone), "data": {"key_manager": "catalog"}}
    with image_service(tmp_path_factory.mktemp("keys"), settings) as running:
        yield running


def _secret(barbican: Barbican, token: str) -> str:
    body = {"name": "key", "payload": "secret", "payload_content_type": "text/plain"}
    answer = requests.post(f"{barbican.url}/v1/secrets", json=body, headers={"X-Auth-Token": token}, timeout=60)
    answer.raise_for_status()
    return str(answer.json()["secret_ref"]).rpartition("/")[2]


def _exists(barbican: Barbican, token: str, key: str) -> bool:
    address = f"{barbican.url}/v1/secrets/{key}"
    answer = requests.get(address, headers={"X-Auth-Token": token, "Accept": "application/json"}, timeout=60)
    assert answer.status_code in (200, 404)
    return answer.status_code == 200


@pytest.mark.parametrize(("policy", "goes"), [("on_image_deletion", True), ("do_not_delete", False), (None, False)])
def test_the_policy_decides(
    service: ImageService, barbican: Barbican, keystone: Keystone, policy: str | None, goes: bool
) -> None:
    token = keystone.token("demo")
    key = _secret(barbican, token)
    fields = {"cinder_encryption_key_id": key, **({"cinder_encryption_key_deletion_policy": policy} if policy else {})}
    headers = {"X-Auth-Token": token}
    path = requests.post(f"{service.url}/v2/images", json=fields, headers=headers, timeout=60).json()["self"]
    assert requests.delete(f"{service.url}{path}", headers=headers, timeout=60).status_code == 204
    assert _exists(barbican, token, key) is not goes


def test_a_key_that_cannot_go_does_not_hold_the_image(
    service: ImageService, barbican: Barbican, keystone: Keystone
) -> None:
    """Another project's image names a key that is not its own."""
    owner, other = keystone.token("demo"), keystone.token("alt")
    key = _secret(barbican, owner)
    fields = {"cinder_encryption_key_id": key, "cinder_encryption_key_deletion_policy": "on_image_deletion"}
    headers = {"X-Auth-Token": other}
    path = requests.post(f"{service.url}/v2/images", json=fields, headers=headers, timeout=60).json()["self"]
    assert requests.delete(f"{service.url}{path}", headers=headers, timeout=60).status_code == 204
    assert _exists(barbican, owner, key)
    assert "its encryption key stays" in service.log.read_text()
    assert "Traceback" not in service.log.read_text()


def test_an_administrator_lends_nobody_his_rights(
    service: ImageService, barbican: Barbican, keystone: Keystone
) -> None:
    """A member writes the administrator's key on its image, and waits for the administrator to delete that."""
    admin, member = keystone.token("admin"), keystone.token("alt")
    key = _secret(barbican, admin)
    fields = {"cinder_encryption_key_id": key, "cinder_encryption_key_deletion_policy": "on_image_deletion"}
    headers = {"X-Auth-Token": member}
    path = requests.post(f"{service.url}/v2/images", json=fields, headers=headers, timeout=60).json()["self"]
    answer = requests.delete(f"{service.url}{path}", headers={"X-Auth-Token": admin}, timeout=60)
    assert answer.status_code == 204
    assert _exists(barbican, admin, key)
    assert "somebody else than the image's owner" in service.log.read_text()
