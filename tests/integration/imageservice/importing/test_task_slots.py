"""Imports are shared out by project: whose turn it is, and what gives way."""

from __future__ import annotations

from functools import partial
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


def is_at_work(service: ImageService, image_id: str, user: str) -> bool:
    return status(service, image_id, user) == "processing"


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
        expected = ["pending", "pending", "processing"]
        wait_until(lambda: sorted(status(service, one) for one in first) == expected, "one is at work, and two wait")
        origin.hurry("dripping.img")
        assert [ended(service, one)["status"] for one in first] == ["success"] * 3


def test_a_project_that_has_none_waits_no_longer_than_a_rate_is_taken_beside_healthy_imports(
    origin: Web, tmp_path: Path
) -> None:
    origin.files["long.img"] = origin.files["whole.img"] = DATA
    more = settings(tmp_path, jobs=3)
    more["server"] |= {"least_rate": 1, "least_rate_seconds": 3}  # what drips is healthy then
    with image_service(tmp_path, **more) as service:
        users = {service.create(user): user for user in ("alice", "alice", "bob")}
        for image_id, user in users.items():
            ask(service, image_id, "web-download", user, uri=origin.url("/drip/long.img")).raise_for_status()
            wait_until(partial(is_at_work, service, image_id, user), "it is at work")
        third = service.create("admin")
        ask(service, third, "web-download", "admin", uri=origin.url("/whole.img")).raise_for_status()
        assert ended(service, third, "admin")["status"] == "success"
        # One of the project with the most went back into the queue for it, and nothing failed.
        assert all(status(service, one, user) in ("pending", "processing") for one, user in users.items())
        origin.hurry("long.img")
        assert [ended(service, one, user)["status"] for one, user in users.items()] == ["success"] * 3


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
