"""A service that imports, with three stores, and a web server it may fetch from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.environments.daemon import scratch
from tests.environments.imageservice import ImageService, image_service
from tests.integration.imageservice.importing.web import Web, web

STORES = ("one", "two", "three")
OPEN = {"allowed_networks": ["127.0.0.1/32"], "allowed_ports": [], "disallowed_ports": [22]}


def settings(folder: Path, **imports: Any) -> dict[str, Any]:
    return {
        "stores": [{"id": name, "directories": [str(folder / "stores" / name)]} for name in STORES],
        "fetch": OPEN,
        "server": {"processes": 1},
        "imports": {"download": {"idle_seconds": 2}, **imports},
    }


@pytest.fixture(scope="session")
def origin() -> Iterator[Web]:
    with web() as server:
        yield server


@pytest.fixture(scope="module")
def service() -> Iterator[ImageService]:
    with scratch("imports") as folder, image_service(folder, **settings(folder)) as running:
        yield running
        said = running.log.read_text()
        assert "Traceback" not in said, said[-5000:]


def ask(service: ImageService, image_id: str, method: str, user: str = "alice", **more: Any) -> requests.Response:
    """``POST …/import``; what belongs to the method is told by ``uri`` and ``checksum``."""
    inner = {key: more.pop(key) for key in ("uri", "checksum", "glance_region", "glance_image_id") if key in more}
    body: dict[str, Any] = {"method": {"name": method, **inner}, **more}
    return service.request("POST", f"/v2/images/{image_id}/import", user, json=body)


def stage(service: ImageService, image_id: str, data: bytes, user: str = "alice") -> requests.Response:
    headers = {"Content-Type": "application/octet-stream"}
    return service.request("PUT", f"/v2/images/{image_id}/stage", user, data=data, headers=headers)


def ended(service: ImageService, image_id: str, user: str = "alice", seconds: float = 60) -> dict[str, Any]:
    """The newest task of an image, once it is over."""
    until = time.monotonic() + seconds
    while True:
        task: dict[str, Any] = service.request("GET", f"/v2/images/{image_id}/tasks", user).json()["tasks"][0]
        if task["status"] in ("success", "failure"):
            return task
        assert time.monotonic() < until, f"still {task}"
        time.sleep(0.1)


def assert_clean(service: ImageService, image_id: str) -> None:
    """The image waits for data as if there had never been any."""
    shown = service.show(image_id)
    assert shown["status"] == "queued"
    assert [shown[name] for name in ("size", "checksum", "os_hash_algo", "os_hash_value", "virtual_size")] == [None] * 5
    assert "stores" not in shown
    assert shown["os_glance_importing_to_stores"] == ""
    assert "os_glance_import_task" not in shown
    assert leftovers(service, image_id) == []


def leftovers(service: ImageService, image_id: str) -> list[Path]:
    """Every file about an image, in stores and staging."""
    staging = [path for path in (service.folder / "staging").iterdir() if image_id in path.name]
    return [path for path in service.files() if image_id in path.name] + staging
