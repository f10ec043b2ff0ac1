"""Imports are shared out by project: whose turn it is, and what gives way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.environments.daemon import wait_until
from tests.environments.imageservice import ImageService, image_service
from tests.integration.imageservice.importing.conftest import ask, assert_clean, ended, settings
from tests.integration.imageservice.importing.web import Web
from tests.integration.imageservice.server.plain_app import pattern

pytestmark = pytest.mark.server
DATA = pattern(100_000)


def status(service: ImageService, image_id: str, user: str = "alice") -> str:
    return str(service.request("GET", f"/v2/images/{image_id}/tasks", user).json()["tasks"][0]["status"])


def test_nobody_of_the_second_project_waits_for_imports_of_the_first(origin: Web, tmp_path: Path) -> None:
    origin.files["dripping.img"] = origin.files["whole.img"] = DATA
    with image_service(tmp_path, **settings(tmp_path, jobs=2)) as service:
        first = [service.create() for _ in range(3)]
        for image_id in first:
            ask(service, image_id, "web-download", uri=origin.url("/drip/dripping.img")).raise_for_status()
        wait_until(lambda: "processing" in [status(service, one) for one in first], "one of the first is at work")
        other = service.create("bob")
        ask(service, other, "web-download", "bob", uri=origin.url("/whole.img")).raise_for_status()
        assert ended(service, other, "bob")["status"] == "success"
        assert sorted(status(service, one) for one in first) == ["pending", "pending", "processing"]
        origin.hurry("dripping.img")
        assert [ended(service, one)["status"] for one in first] == ["success"] * 3


def test_an_import_that_drips_gives_way_and_says_so(origin: Web, tmp_path: Path) -> None:
    origin.files["slow.img"] = origin.files["whole.img"] = DATA
    more = settings(tmp_path, jobs=2)
    more["server"] |= {"least_rate": 1 << 30, "least_rate_seconds": 3}
    with image_service(tmp_path, **more) as service:
        slow, next_one = service.create(), service.create()
        ask(service, slow, "web-download", uri=origin.url("/drip/slow.img")).raise_for_status()
        wait_until(lambda: status(service, slow) == "processing", "it is at work")
        ask(service, next_one, "web-download", uri=origin.url("/whole.img")).raise_for_status()
        assert ended(service, next_one)["status"] == "success"
        task = ended(service, slow)
        assert task["status"] == "failure"
        assert "ended because others waited for its slot" in task["message"]
        assert_clean(service, slow)
