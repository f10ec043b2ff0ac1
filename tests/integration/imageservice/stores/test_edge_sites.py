"""A cloud with edge sites: three stores, of which some are away, and a store that hangs beside one that works."""

from __future__ import annotations

import contextlib
import itertools
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.environments.ceph import ACCESS_KEY, POOL, SECRET_KEY, Ceph
from tests.environments.daemon import wait_until
from tests.environments.imageservice import ImageService, image_service
from tests.environments.relay import Relay, relay
from tests.unit.imageservice.stores.contract import pattern

pytestmark = pytest.mark.server

MIB = 1 << 20
SITES = {"central": 0, "dcn0": 200, "dcn1": 100}  # their weights, as the node at dcn0 would have them
_serial = itertools.count(1)


def site(name: str, url: str, **more: object) -> dict[str, Any]:
    """A store of an S3 server, with little patience."""
    keys = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
    timeout = {"connect_timeout": 1, "read_timeout": 1, "attempts": 1}
    bucket = {"bucket": f"site-{name}-{next(_serial)}", "create_bucket": True}
    return {"id": name, "type": "s3", "host": url, **keys, **timeout, **bucket, **more}


@pytest.fixture
def relays(gateway: str) -> Iterator[dict[str, Relay]]:
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(relay(gateway)) for name in SITES}


def health_of(service: ImageService) -> dict[str, bool]:
    answer = service.request("GET", "/v2/info/stores/detail", "admin").json()
    return {store["id"]: store["healthy"] for store in answer["stores"]}


def copied(service: ImageService, image_id: str, *stores: str) -> None:
    body = {"method": {"name": "copy-image"}, "stores": list(stores), "all_stores_must_succeed": True}
    answer = service.request("POST", f"/v2/images/{image_id}/import", "admin", json=body)
    assert answer.status_code == 202, answer.text
    wait_until(lambda: set(stores) <= set(service.show(image_id, "admin")["stores"].split(",")), "the copies are there")


def test_sites_that_go_away_and_come_back(relays: dict[str, Relay]) -> None:
    relays["dcn0"].die()
    stores = [site(name, relays[name].url, weight=weight) for name, weight in SITES.items()]
    with image_service(stores=stores, server={"processes": 1, "workers": 1}) as service:
        # Down at start: said so, and nothing else suffers.
        down_at_start = {"central": True, "dcn0": False, "dcn1": True}
        wait_until(lambda: health_of(service) == down_at_start, "both others are healthy", seconds=20, pause=0.5)
        assert service.request("GET", "/healthcheck").status_code == 200
        checks = service.request("GET", "/healthcheck", headers={"Accept": "application/json"}).json()["checks"]
        assert checks["store central"] == "OK"
        assert "does not answer" in checks["store dcn0"]

        data = pattern(6 * MIB)
        image_id = service.create("admin")
        assert service.upload(image_id, data, "admin").status_code == 204
        copied(service, image_id, "dcn1")
        assert downloaded_from(service, image_id, data, relays) == "dcn1"
        refused = service.upload(service.create("admin"), b"x", "admin", **{"X-Image-Meta-Store": "dcn0"})
        assert refused.status_code == 503

        # Back again, without anybody's help.
        relays["dcn0"].mend()
        wait_until(lambda: health_of(service)["dcn0"], "dcn0 is healthy", seconds=20, pause=0.5)
        copied(service, image_id, "dcn0")
        assert downloaded_from(service, image_id, data, relays) == "dcn0"

        # Away, by a broken line and by a silent one: the next nearest serves.
        relays["dcn0"].die()
        assert downloaded_from(service, image_id, data, relays) == "dcn1"
        relays["dcn1"].fall_silent()
        assert downloaded_from(service, image_id, data, relays) == "central"
        wait_until(lambda: not health_of(service)["dcn1"], "dcn1 is known to be silent", seconds=20, pause=0.5)
        before = len(relays["dcn1"].asked)
        assert downloaded_from(service, image_id, data, relays) == "central"
        asked = [line for line in relays["dcn1"].asked[before:] if image_id.encode() in line]
        assert asked == [], "nobody waits for a store that is known to be silent"
        for name in ("dcn0", "dcn1"):
            relays[name].mend()
        wait_until(lambda: all(health_of(service).values()), "all sites are back", seconds=20, pause=0.5)
        assert downloaded_from(service, image_id, data, relays) == "dcn0"


def test_a_default_store_that_is_down_at_start(gateway: str) -> None:
    with relay(gateway) as line:
        line.die()
        with image_service(stores=[site("only", line.url)], server={"processes": 1, "workers": 0}) as service:
            image_id = service.create("admin")
            assert service.upload(image_id, b"x", "admin").status_code == 503
            line.mend()
            wait_until(lambda: service.upload(image_id, b"data", "admin").status_code == 204, "it is back", pause=0.5)
            assert service.request("GET", f"/v2/images/{image_id}/file", "admin").content == b"data"


def downloaded_from(service: ImageService, image_id: str, data: bytes, relays: dict[str, Relay]) -> str:
    """The site whose line the image has come over; it has to be whole."""
    before = {name: line.passed for name, line in relays.items()}
    answer = service.request("GET", f"/v2/images/{image_id}/file", "admin")
    assert answer.status_code == 200
    assert answer.content == data
    used = [name for name, line in relays.items() if line.passed - before[name] >= len(data)]
    assert len(used) == 1
    return used[0]


def test_a_store_that_hangs_leaves_the_others_alone(ceph_on_disk: Ceph, gateway: str, tmp_path: Path) -> None:
    """Its server is stopped in the middle of many uploads and downloads; another's requests go on as ever."""
    stores = [
        {"id": "fast", "directories": [str(tmp_path / "fast")]},
        {"id": "ceph", "type": "rbd", "pool": POOL, "ceph_conf": str(ceph_on_disk.glance_conf)},
    ]
    with image_service(stores=stores, server={"processes": 1, "workers": 0}) as service:
        there = service.create("admin")
        assert service.upload(there, pattern(8 * MIB), "admin", **{"X-Image-Meta-Store": "ceph"}).status_code == 204
        ceph_on_disk.signal_osd(signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(48) as clients:
                begun = [clients.submit(quietly(hanging_upload), service) for _ in range(32)]
                begun += [clients.submit(quietly(hanging_download), service, there) for _ in range(16)]
                for _ in range(40):
                    goes_on(service)
                assert [each for each in begun if not each.done()], "nothing hung any more: those before prove nothing"
                expected = {"fast": True, "ceph": False}
                wait_until(lambda: health_of(service) == expected, "it is known to hang", seconds=20, pause=0.5)
                ceph_on_disk.restart_osd()
                for each in begun:
                    each.result()
        finally:
            ceph_on_disk.signal_osd(signal.SIGCONT)
        wait_until(lambda: health_of(service)["ceph"], "the store is healthy again", seconds=60, pause=0.5)
        assert service.request("GET", f"/v2/images/{there}/file", "admin").content == pattern(8 * MIB)


def goes_on(service: ImageService) -> None:
    """Upload a small image to the store that works, and download it."""
    image_id = service.create("admin")
    assert service.upload(image_id, b"x" * 1024, "admin", **{"X-Image-Meta-Store": "fast"}).status_code == 204
    assert service.request("GET", f"/v2/images/{image_id}/file", "admin").content == b"x" * 1024


def hanging_upload(service: ImageService) -> None:
    service.upload(service.create("admin"), bytes(range(256)) * (64 << 10), "admin", **{"X-Image-Meta-Store": "ceph"})


def hanging_download(service: ImageService, image_id: str) -> None:
    service.request("GET", f"/v2/images/{image_id}/file", "admin")


def quietly(action: Callable[..., None]) -> Callable[..., None]:
    """What becomes of them is not what is tested."""

    def attempt(*arguments: Any) -> None:
        with contextlib.suppress(Exception):
            action(*arguments)

    return attempt
