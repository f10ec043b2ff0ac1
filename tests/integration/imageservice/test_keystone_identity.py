"""The service behind a real identity service: whose tokens count, for what, and for how long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.environments.daemon import wait_until
from tests.environments.deployed_service import ImageService, image_service, with_keystone
from tests.environments.keystone import Keystone

pytestmark = pytest.mark.server
OCTETS = {"Content-Type": "application/octet-stream"}
FORMATS = {"disk_format": "raw", "container_format": "bare"}
LIMITS = {"image_size_total": 5, "image_stage_total": 5, "image_count_total": 3, "image_count_uploading": 5}


@pytest.fixture(scope="module")
def service(keystone: Keystone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageService]:
    # Tokens are asked about each time, so that one which has ended is known to have ended.
    settings = with_keystone(keystone)
    settings["identity"]["options"]["token_cache_time"] = -1
    with image_service(tmp_path_factory.mktemp("keystone"), settings) as running:
        yield running


def call(service: ImageService, token: str, method: str, path: str, **more: Any) -> requests.Response:
    headers = {"X-Auth-Token": token, **more.pop("headers", {})}
    return requests.request(method, f"{service.url}{path}", headers=headers, timeout=120, **more)


def create(service: ImageService, token: str, **fields: Any) -> str:
    answer = call(service, token, "POST", "/v2/images", json={**FORMATS, **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["self"])


def test_tokens(service: ImageService, keystone: Keystone) -> None:
    project = keystone.connect("demo").current_project_id
    path = create(service, keystone.token("demo"), name="x")
    image = call(service, keystone.token("demo"), "GET", path).json()
    assert image["owner"] == project
    assert call(service, keystone.token("alt"), "GET", path).status_code == 404
    assert call(service, keystone.token("admin"), "GET", path).status_code == 200
    for token in ("", "nonsense", "x" * 5000):
        refused = call(service, token, "GET", path)
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == f'Keystone uri="{keystone.url}"'


def test_neither_the_start_nor_a_client_gives_cause_for_concern(service: ImageService) -> None:
    refused = call(service, "no-token-at-all", "GET", "/v2/images")
    assert refused.status_code == 401
    wait_until(lambda: refused.headers["x-openstack-request-id"] in service.log.read_text(), "the line of the request")
    log = service.log.read_text()
    told = [line.rpartition(": ")[2] for line in log.splitlines() if "keystonemiddleware" in line]
    assert set(told) == {"Starting Keystone auth_token middleware"}
    assert "WARNING" not in log


def test_identity_cannot_be_claimed_by_headers(service: ImageService, keystone: Keystone) -> None:
    forged = {"X-Roles": "admin", "X-Project-Id": "any", "X-Identity-Status": "Confirmed", "X-User-Id": "any"}
    path = create(service, keystone.token("alt"), visibility="private")
    assert requests.get(f"{service.url}{path}", headers=forged, timeout=30).status_code == 401
    assert call(service, keystone.token("demo"), "GET", path, headers=forged).status_code == 404


def test_tokens_of_the_system_may_nothing(service: ImageService, keystone: Keystone) -> None:
    variables = keystone.variables("admin")
    methods = {"methods": ["password"], "password": {"user": _user(variables)}}
    with keystone.connect("admin") as admin:
        role = admin.identity.find_role("admin")
        user = admin.current_user_id
        admin.identity.put(f"/system/users/{user}/roles/{role.id}")
    body: Any = {"auth": {"identity": methods, "scope": {"system": {"all": True}}}}
    answer = requests.post(f"{keystone.url}/auth/tokens", json=body, timeout=30)
    answer.raise_for_status()
    token = answer.headers["X-Subject-Token"]
    assert call(service, token, "GET", "/v2/images").status_code == 403
    assert call(service, token, "POST", "/v2/images", json={}).status_code == 403


def _user(variables: dict[str, str]) -> dict[str, Any]:
    return {"name": variables["OS_USERNAME"], "password": variables["OS_PASSWORD"], "domain": {"id": "default"}}


def test_an_upload_outlives_its_token(service: ImageService, keystone: Keystone) -> None:
    path = create(service, keystone.token("demo"))
    seconds = 4
    token = keystone.short_token(seconds)
    size = 64 << 10
    ends = time.monotonic() + seconds + 3

    def slowly() -> Iterator[bytes]:
        yield b"\1" * size
        while time.monotonic() < ends:
            time.sleep(0.5)
            yield b"\1" * 10
        yield b"\1" * size

    sent = call(service, token, "PUT", f"{path}/file", data=slowly(), headers=OCTETS)
    assert sent.status_code == 204, sent.text
    assert call(service, token, "GET", path).status_code == 401
    image = call(service, keystone.token("demo"), "GET", path).json()
    assert image["status"] == "active"
    assert image["size"] > 2 * size


def test_services_call_on_behalf_of_users(service: ImageService, keystone: Keystone) -> None:
    """Compute signs and uploads, and asks for locations, with the user's token and its own beside it."""
    demo, helper = keystone.token("demo"), keystone.token("glance", "service")
    path = create(service, demo)
    assert call(service, demo, "GET", f"{path}/locations").status_code == 403
    with_service = {"X-Service-Token": helper}
    assert call(service, demo, "GET", f"{path}/locations", headers=with_service).json() == []
    assert call(service, demo, "GET", path, headers={"X-Service-Token": "wrong"}).status_code == 401
    # A user's token is no service's.
    assert call(service, demo, "GET", path, headers={"X-Service-Token": keystone.token("alt")}).status_code == 401


@pytest.fixture
def limited(keystone: Keystone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageService]:
    """A service whose limits are registered with the identity service."""
    settings = {**with_keystone(keystone), "quotas": {"source": "keystone", "cache_seconds": 0}}
    with (
        image_service(tmp_path_factory.mktemp("limited"), settings) as running,
        keystone.endpoint("image", running.url),
        keystone.connect("admin") as admin,
    ):
        [image] = admin.identity.services(type="image")
        made = [
            admin.identity.create_registered_limit(service_id=image.id, resource_name=name, default_limit=limit)
            for name, limit in LIMITS.items()
        ]
        try:
            yield running
        finally:
            for one in admin.identity.limits():
                admin.identity.delete_limit(one)
            for one in made:
                admin.identity.delete_registered_limit(one)


def test_unified_limits(limited: ImageService, keystone: Keystone) -> None:
    demo, alt = keystone.token("demo"), keystone.token("alt")
    found = call(limited, demo, "GET", "/v2/info/usage").json()["usage"]
    assert found == {name: {"limit": limit, "usage": 0} for name, limit in LIMITS.items()}
    paths = [create(limited, demo) for _ in range(3)]
    refused = call(limited, demo, "POST", "/v2/images", json=FORMATS)
    assert refused.status_code == 413
    assert "Resource image_count_total is over limit of 3 due to current usage 3 and delta 1" in refused.text
    assert call(limited, demo, "PUT", f"{paths[0]}/file", data=b"\1" * (3 << 20), headers=OCTETS).status_code == 204
    over = call(limited, demo, "PUT", f"{paths[1]}/file", data=b"\1" * (3 << 20), headers=OCTETS)
    assert over.status_code == 413
    assert "Resource image_size_total is over limit of 5 due to current usage 3 and delta 3" in over.text
    project = keystone.connect("alt").current_project_id
    with keystone.connect("admin") as admin:
        [image] = admin.identity.services(type="image")
        admin.identity.create_limit(
            service_id=image.id, project_id=project, resource_name="image_count_total", resource_limit=0
        )
    assert call(limited, alt, "GET", "/v2/info/usage").json()["usage"]["image_count_total"]["limit"] == 0
    assert call(limited, alt, "POST", "/v2/images", json=FORMATS).status_code == 413


def test_an_identity_service_that_is_gone(keystone: Keystone, tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = with_keystone(keystone)
    settings["identity"]["options"] |= {"auth_url": "http://127.0.0.1:9/v3", "http_request_max_retries": 0}
    with image_service(tmp_path_factory.mktemp("gone"), settings) as running:
        assert call(running, "some-token", "GET", "/v2/images").status_code == 503
        assert requests.get(f"{running.url}/versions", timeout=30).status_code == 200
        log = running.log.read_text()
    assert "Traceback" not in log
