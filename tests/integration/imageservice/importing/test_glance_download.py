"""Images fetched from another region's image service: ours and the reference's, with the caller's own rights."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from tests.environments import glance as reference
from tests.environments.daemon import scratch, wait_until
from tests.environments.deployed_service import with_keystone
from tests.environments.fixtures import installed
from tests.environments.glance import Glance
from tests.environments.imageservice import ImageService, image_service
from tests.environments.keystone import REGION, Keystone
from tests.integration.imageservice.importing.conftest import STORES, leftovers, settings
from tests.integration.imageservice.importing.test_crash import kill_all
from tests.integration.imageservice.server.plain_app import pattern

pytestmark = pytest.mark.server
MIB = 1 << 20
DATA = pattern(3 * MIB + 11)
SECOND = "RegionTwo"
FORMATS = {"disk_format": "raw", "container_format": "bare"}
REFUSE = {"validate": "refuse"}  # by the default catalogue
TAKEN: dict[str, Any] = {"hw_disk_bus": "scsi", "os_distro": "debian", "trait:HW_CPU": "required"}


@dataclass(frozen=True)
class Cloud:
    """An identity service and the image services of its two regions; images are imported into ``target``."""

    keystone: Keystone
    target: ImageService
    regions: dict[str, str]  # name → the image service's URL

    def call(self, method: str, path: str, token: str | None = None, url: str | None = None, **more: Any) -> Any:
        headers = {"X-Auth-Token": token or self.keystone.token(), **more.pop("headers", {})}
        return requests.request(method, (url or self.target.url) + path, headers=headers, timeout=60, **more)

    def source(self, region: str, data: bytes | None = DATA, **fields: Any) -> str:
        """An image of ``demo`` in a region; its id."""
        url = self.regions[region]
        made = self.call("POST", "/v2/images", url=url, json={"name": "source", **FORMATS, **fields})
        assert made.status_code == 201, made.text
        path = f"/v2/images/{made.json()['id']}"
        if data is not None:
            octets = {"Content-Type": "application/octet-stream"}
            sent = self.call("PUT", f"{path}/file", url=url, data=data, headers=octets)
            assert sent.status_code == 204, sent.text
        return str(made.json()["id"])

    def create(self, **fields: str) -> str:
        made = self.call("POST", "/v2/images", json={"name": "target", "disk_format": "qcow2", **fields})
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def ask(self, image_id: str, region: str, source: str, token: str | None = None, **more: Any) -> Any:
        method = {"name": "glance-download", "glance_region": region, "glance_image_id": source}
        return self.call("POST", f"/v2/images/{image_id}/import", token, json={"method": method, **more})

    def show(self, image_id: str) -> dict[str, Any]:
        document: dict[str, Any] = self.call("GET", f"/v2/images/{image_id}").json()
        return document

    def ended(self, image_id: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = []

        def over() -> bool:
            with contextlib.suppress(requests.RequestException):
                found[:] = self.call("GET", f"/v2/images/{image_id}/tasks").json()["tasks"]
            return bool(found) and found[0]["status"] in ("success", "failure")

        wait_until(over, "the import is over", seconds=90)
        return found[0]

    def trusts(self) -> list[Any]:
        admin = {"X-Auth-Token": self.keystone.token("admin")}
        answer = requests.get(f"{self.keystone.url}/OS-TRUST/trusts", headers=admin, timeout=30)
        found: list[Any] = answer.json()["trusts"]
        return found

    def holds(self, secret: str) -> bool:
        """Whether a secret is written down anywhere in the target's folder."""
        files = [path for path in self.target.folder.rglob("*") if path.is_file()]
        return any(secret.encode() in path.read_bytes() for path in files)


@pytest.fixture(scope="module")
def glance(keystone: Keystone) -> Iterator[Glance]:
    with installed(reference.glance(keystone)) as running:
        yield running


@pytest.fixture(scope="module")
def cloud(keystone: Keystone, glance: Glance) -> Iterator[Cloud]:
    identity = with_keystone(keystone)["identity"]
    with contextlib.ExitStack() as stack:
        second = stack.enter_context(image_service(identity=identity))
        with keystone.connect("admin") as admin:
            [service] = admin.identity.services(type="image")
            admin.identity.create_region(id=SECOND)
            admin.identity.create_endpoint(
                service_id=service.id, interface="public", url=f"{second.url}/v2", region_id=SECOND
            )
        folder = stack.enter_context(scratch("regions"))
        mine = settings(folder, methods=["glance-download", "web-download"], download={"rate": 2 * MIB})
        # The regions' services lie on an inner network, which users may not have the service fetch from.
        target = stack.enter_context(
            image_service(folder, **{**mine, "fetch": {}, "metadefs": REFUSE, "identity": identity})
        )
        yield Cloud(keystone, target, {REGION: glance.url, SECOND: second.url})
        assert "Traceback" not in target.log.read_text()


def assert_fetched(cloud: Cloud, image_id: str, data: bytes = DATA) -> None:
    shown = cloud.show(image_id)
    assert (shown["status"], shown["size"], shown["disk_format"]) == ("active", len(data), "raw")
    assert shown["os_hash_value"] == hashlib.sha512(data).hexdigest()
    assert "os_glance_import_task" not in shown
    assert all(path.read_bytes() == data for path in leftovers(cloud.target, image_id))
    assert cloud.trusts() == []


@pytest.mark.parametrize("region", [REGION, SECOND])
def test_an_image_of_another_region(cloud: Cloud, region: str) -> None:
    source = cloud.source(region, **TAKEN, description="not taken over")
    image_id = cloud.create(container_format="bare", os_distro="gentoo", own="stays")
    token = cloud.keystone.token()
    # Any way of writing a UUID names the image, and none of them gets into the URL as it is.
    assert cloud.ask(image_id, region, f"urn:uuid:{source}", token, all_stores=True).status_code == 202
    task = cloud.ended(image_id)
    assert task["status"] == "success", task
    assert task["progress"]["fetch"] == {"state": "done", "done": len(DATA), "total": len(DATA)}
    shown = cloud.show(image_id)
    assert {name: shown.get(name) for name in [*TAKEN, "own", "description"]} == {
        **TAKEN,
        "own": "stays",
        "description": None,
    }
    assert shown["stores"] == ",".join(sorted(STORES))
    assert_fetched(cloud, image_id)
    assert not cloud.holds(token)


def test_what_cannot_be_fetched_leaves_the_image_as_it_was(cloud: Cloud) -> None:
    image_id = cloud.create(container_format="bare", os_distro="gentoo")
    refused = cloud.ask(image_id, SECOND, "no-uuid")
    assert (refused.status_code, "does not look like a UUID" in refused.text) == (400, True)
    assert cloud.ask(image_id, "", "11111111-2222-3333-4444-555555555555").status_code == 400
    waiting = cloud.source(SECOND, None, **TAKEN)
    qcow = cloud.source(SECOND, b"not what its format says" * 10, **TAKEN)
    odd = cloud.source(SECOND, hw_disk_bus="bogus")
    for region, source, message in [
        (SECOND, odd, "Property hw_disk_bus: 'bogus' is not one of scsi, virtio"),
        ("RegionThree", waiting, "no image service in region 'RegionThree'"),
        (SECOND, "11111111-2222-3333-4444-555555555555", "status 404"),
        (SECOND, waiting, "it is queued, not active"),
    ]:
        answer = cloud.ask(image_id, region, source)
        assert answer.status_code == 202, answer.text
        task = cloud.ended(image_id)
        assert task["status"] == "failure"
        assert message in task["message"], task
    method = {
        "name": "glance-download",
        "glance_region": SECOND,
        "glance_image_id": qcow,
        "checksum": f"sha256:{'0' * 64}",
    }
    assert cloud.call("POST", f"/v2/images/{image_id}/import", json={"method": method}).status_code == 202
    assert "as demanded" in cloud.ended(image_id)["message"]
    shown = cloud.show(image_id)
    assert (shown["status"], shown["disk_format"], shown["os_distro"]) == ("queued", "qcow2", "gentoo")
    assert "hw_disk_bus" not in shown
    assert leftovers(cloud.target, image_id) == []
    assert cloud.trusts() == []


def test_a_project_fetches_only_what_it_may_see(cloud: Cloud) -> None:
    source = cloud.source(SECOND, visibility="private")
    token = cloud.keystone.token("alt")
    made = cloud.call("POST", "/v2/images", token, json={"name": "x", **FORMATS}).json()
    assert cloud.ask(made["id"], SECOND, source, token).status_code == 202
    wait_until(
        lambda: cloud.call("GET", f"/v2/images/{made['id']}", token).json()["os_glance_failed_import"] == "one",
        "failed",
    )


def test_another_worker_goes_on_by_the_trust(cloud: Cloud) -> None:
    source = cloud.source(SECOND)
    image_id = cloud.create(container_format="bare")
    assert cloud.ask(image_id, SECOND, source).status_code == 202
    wait_until(lambda: leftovers(cloud.target, image_id) != [], "the first bytes", seconds=30)
    assert len(cloud.trusts()) == 1
    kill_all(cloud.target)
    assert cloud.ended(image_id)["status"] == "success"
    assert_fetched(cloud, image_id)


def limited_token(keystone: Keystone) -> str:
    """A token that may not give trusts: an application credential's."""
    return keystone.short_token(600)


def test_a_token_that_gives_no_trust_is_used_by_its_own_process(cloud: Cloud) -> None:
    source = cloud.source(SECOND)
    token = limited_token(cloud.keystone)
    image_id = cloud.create(container_format="bare")
    assert cloud.ask(image_id, SECOND, source, token, stores=["two"]).status_code == 202
    assert cloud.ended(image_id)["status"] == "success"
    assert_fetched(cloud, image_id)
    assert not cloud.holds(token)


def test_without_a_trust_the_end_of_the_process_is_told(cloud: Cloud) -> None:
    source = cloud.source(SECOND)
    image_id = cloud.create(container_format="bare", os_distro="gentoo")
    assert cloud.ask(image_id, SECOND, source, limited_token(cloud.keystone)).status_code == 202
    wait_until(lambda: leftovers(cloud.target, image_id) != [], "the first bytes", seconds=30)
    kill_all(cloud.target)
    task = cloud.ended(image_id)
    assert task["status"] == "failure"
    assert "the token it had; ask for the import again" in task["message"]
    shown = cloud.show(image_id)
    assert (shown["status"], shown["disk_format"], shown["os_distro"]) == ("queued", "qcow2", "gentoo")
    wait_until(lambda: leftovers(cloud.target, image_id) == [], "nothing is left")


def test_a_service_without_a_catalog_says_so() -> None:
    with image_service(imports={"methods": ["glance-download"]}) as service:
        image_id = service.create()
        method = {"name": "glance-download", "glance_region": "R", "glance_image_id": image_id}
        answer = service.request("POST", f"/v2/images/{image_id}/import", json={"method": method})
        assert answer.status_code == 400
        assert "needs the catalog of an identity service" in answer.text
        assert service.show(image_id)["status"] == "queued"
