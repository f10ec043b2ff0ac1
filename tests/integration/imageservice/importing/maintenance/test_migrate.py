"""``./inv service.stores`` and ``./inv service.migrate`` beside a running service, killed on the way, too."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.home import CHECKOUT
from tests.environments.imageservice import ImageService, image_service
from tests.integration.imageservice.server.plain_app import pattern

pytestmark = pytest.mark.server
MIB = 1 << 20
SERVER = {"processes": 1, "workers": 1}


@pytest.fixture(scope="module")
def running() -> Iterator[ImageService]:
    with image_service(server=SERVER, data={"upload_lease": 2}) as service:
        yield service
        assert "Traceback" not in service.log.read_text()


@pytest.fixture
def service(running: ImageService) -> Iterator[ImageService]:
    """A service without images, before and after."""
    yield running
    for image in running.request("GET", "/v2/images?limit=1000", "admin").json()["images"]:
        running.request("DELETE", f"/v2/images/{image['id']}", "admin")
    assert running.files() == []


def started(service: ImageService, task: str, *words: str) -> subprocess.Popen[str]:
    """An ``./inv`` task on its way."""
    command = [sys.executable, "-m", "pipeline.cli", task, "--settings", str(service.folder / "settings.yaml")]
    return subprocess.Popen([*command, *words], cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def inv(service: ImageService, task: str, *words: str, status: int = 0) -> str:
    child = started(service, task, *words)
    printed, said = child.communicate(timeout=120)
    assert child.returncode == status, said
    assert "Traceback" not in said
    return printed if status == 0 else printed + said


def migrated(service: ImageService, *words: str, status: int = 0) -> list[dict[str, Any]]:
    printed = inv(service, "service.migrate", "--from", "one", "--to", "two", "--json", *words, status=status)
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


def uploaded(service: ImageService, *contents: bytes) -> dict[str, bytes]:
    """New images in store ``one``."""
    found = {}
    for data in contents:
        image_id = service.create()
        answer = service.upload(image_id, data)
        assert answer.status_code == 204, answer.text
        found[image_id] = data
    return found


def assert_moved(service: ImageService, images: dict[str, bytes]) -> None:
    assert service.files("one") == []
    # A move that was begun again has a further name.
    assert {path.name.partition(".")[0]: path.read_bytes() for path in service.files("two")} == images
    assert len(service.files("two")) == len(images)
    for image_id, data in images.items():
        assert service.show(image_id)["stores"] == "two"
        assert service.request("GET", f"/v2/images/{image_id}/file").content == data
    assert "agree" in inv(service, "service.reconcile", "--digests")


def test_all_images_move(service: ImageService) -> None:
    images = uploaded(service, b"", b"x", pattern(3 * MIB))
    moved = migrated(service)
    assert {one["image"]: one["size"] for one in moved} == {name: len(data) for name, data in images.items()}
    assert {one["outcome"] for one in moved} == {"moved"}
    assert_moved(service, images)
    assert migrated(service) == []


def test_copies_may_stay(service: ImageService) -> None:
    (image_id,) = uploaded(service, b"data")
    assert [one["outcome"] for one in migrated(service, "--keep")] == ["copied"]
    assert service.show(image_id)["stores"] == "one,two"
    assert migrated(service, "--keep") == []
    assert [one["outcome"] for one in migrated(service)] == ["moved"]
    assert_moved(service, {image_id: b"data"})


def test_damaged_data_stays_where_it_is(service: ImageService) -> None:
    whole, damaged, short = uploaded(service, b"whole", b"damaged", b"short")
    (service.folder / "stores" / "one" / damaged).write_bytes(b"dumaged")
    (service.folder / "stores" / "one" / short).write_bytes(b"sho")
    moved = {one["image"]: one for one in migrated(service, status=1)}
    assert moved[whole]["outcome"] == "moved"
    assert moved[damaged]["outcome"] == moved[short]["outcome"] == "stays"
    assert "differs" in moved[damaged]["detail"]
    assert "3 bytes" in moved[short]["detail"]
    assert [path.name for path in service.files("two")] == [whole]
    assert service.show(damaged)["stores"] == "one"


def test_a_bad_copy_is_not_relied_on(service: ImageService) -> None:
    (image_id,) = uploaded(service, b"data")
    migrated(service, "--keep")
    (service.folder / "stores" / "two" / image_id).write_bytes(b"dada")
    assert [one["outcome"] for one in migrated(service, status=1)] == ["stays"]
    assert service.show(image_id)["stores"] == "one,two"
    assert (service.folder / "stores" / "one" / image_id).read_bytes() == b"data"


def test_wrong_stores_are_told(service: ImageService) -> None:
    for words, said in (
        ([], "no stores were named"),
        (["--from", "one", "--to", "three"], "there is no store 'three'"),
        (["--from", "one", "--to", "one"], "to one itself"),
    ):
        assert said in inv(service, "service.migrate", *words, status=1)


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.long)])
def test_a_killed_move_is_gone_on_with(service: ImageService, kills: int) -> None:
    images = uploaded(service, *[pattern(size * MIB) for size in (1, 24, 3, 40, *range(4, kills))])
    chance = random.Random(kills)
    for _ in range(kills):
        child = started(service, "service.migrate", "--from", "one", "--to", "two")
        # Anywhere between the first image and the last: it takes a second to start.
        with contextlib.suppress(subprocess.TimeoutExpired):
            wait_for_begin(service, child)
            child.wait(chance.uniform(0, 0.6))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        for image_id, data in images.items():
            assert service.request("GET", f"/v2/images/{image_id}/file").content == data
    migrated(service)
    assert_moved(service, images)


def wait_for_begin(service: ImageService, child: subprocess.Popen[str]) -> None:
    """Until something new is in store ``two``, or the process has ended."""
    before = set(service.files("two"))
    while child.poll() is None and set(service.files("two")) == before:
        time.sleep(0.005)


def test_what_the_stores_hold(service: ImageService, tmp_path: Path) -> None:
    uploaded(service, b"1234", pattern(MIB))
    one, two = json.loads(inv(service, "service.stores", "--json"))
    assert (one["store"], one["images"], one["bytes"], one["default"]) == ("one", 2, MIB + 4, True)
    assert (two["store"], two["images"], two["bytes"], two["fault"]) == ("two", 0, 0, None)
    assert 0 < two["free"] <= two["total"]
    assert "one (default)" in inv(service, "service.stores")
    folder, aside = service.folder / "stores" / "two", service.folder / "stores" / "aside"
    folder.rename(aside)
    folder.write_text("in the way")
    assert "store two has a fault" in inv(service, "service.stores", status=1)
    folder.unlink()
    aside.rename(folder)
