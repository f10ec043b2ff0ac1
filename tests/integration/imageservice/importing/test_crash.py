"""Killing the service's processes in the middle of imports: another one goes on or undoes it, and everything agrees."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.environments.daemon import scratch, wait_until
from tests.environments.imageservice import ImageService, image_service
from tests.integration.imageservice.importing.conftest import STORES, ask, leftovers, settings, stage
from tests.integration.imageservice.importing.web import Web
from tests.integration.imageservice.server.plain_app import pattern

pytestmark = pytest.mark.server
MIB = 1 << 20
DATA = pattern(24 * MIB)


@pytest.fixture(scope="module")
def mortal() -> Iterator[ImageService]:
    """A service whose processes are killed; leases last two seconds."""
    with scratch("crash") as folder, image_service(folder, **settings(folder)) as running:
        yield running
        assert "Traceback" not in running.log.read_text()


def workers(service: ImageService) -> list[int]:
    """The API process and the worker: everything but the parents, which hold no state."""
    return [pid for pid in service.processes() if pid != service.child.pid and not _children(pid) and _alive(pid)]


def _children(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return []


def _alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def kill_all(service: ImageService) -> None:
    for pid in workers(service):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def settled(service: ImageService, image_id: str) -> str:
    """The image's status once nothing is going on with it any more."""
    status = ""

    def over() -> bool:
        nonlocal status
        with contextlib.suppress(Exception):
            shown = service.show(image_id)
            status = shown["status"]
            return status in ("active", "queued") and "os_glance_import_task" not in shown
        return False

    wait_until(over, "the import is over", seconds=60)
    return status


def assert_agrees(service: ImageService, image_id: str) -> None:
    """Catalog, stores and staging say the same."""
    shown = service.show(image_id)
    assert shown["os_glance_importing_to_stores"] == ""
    if shown["status"] == "active":
        assert shown["stores"] == ",".join(sorted(STORES))
        wait_until(lambda: len(leftovers(service, image_id)) == len(STORES), "no leftovers", seconds=20)
        assert all(path.read_bytes() == DATA for path in leftovers(service, image_id))
    else:
        assert "stores" not in shown
        wait_until(lambda: leftovers(service, image_id) == [], "no leftovers", seconds=20)


def begin(service: ImageService, origin: Web, method: str) -> str:
    image_id = service.create()
    if method == "glance-direct":
        assert stage(service, image_id, DATA).status_code == 204
    assert ask(service, image_id, method, uri=origin.url("/crash.img"), all_stores=True).status_code == 202
    return image_id


def survive(service: ImageService, origin: Web, moments: list[tuple[str, float]]) -> None:
    origin.files["crash.img"] = DATA
    for method, moment in moments:
        image_id = begin(service, origin, method)
        time.sleep(moment)
        kill_all(service)
        status = settled(service, image_id)
        assert status == "active", f"{method} killed after {moment:.2f} s"
        assert_agrees(service, image_id)


def test_killed_at_several_points(mortal: ImageService, origin: Web) -> None:
    survive(
        mortal,
        origin,
        [
            ("web-download", 0.1),
            ("web-download", 0.4),
            ("web-download", 0.8),
            ("glance-direct", 0.3),
            ("glance-direct", 0.6),
        ],
    )


@pytest.mark.soak
def test_killed_at_fifty_random_points(mortal: ImageService, origin: Web) -> None:
    dice = random.Random(os.environ.get("PIPELINE_SEED", "7"))
    moments = [(dice.choice(["web-download", "glance-direct"]), dice.uniform(0, 1.5)) for _ in range(50)]
    survive(mortal, origin, moments)


def test_killed_while_it_is_undone(mortal: ImageService, origin: Web) -> None:
    """A store that can't be written makes the import fail; the worker dies again and again on its way."""
    folder = mortal.folder / "stores" / "two"
    folder.rename(folder.with_name("two.away"))
    folder.write_text("no folder")
    try:
        image_id = begin(mortal, origin, "glance-direct")
        for moment in (0.5, 1.5):
            time.sleep(moment)
            kill_all(mortal)
        assert settled(mortal, image_id) == "queued"
    finally:
        folder.unlink()
        folder.with_name("two.away").rename(folder)
    assert_agrees(mortal, image_id)


def test_killed_while_data_is_staged(mortal: ImageService) -> None:
    """The upload into staging dies with its process; the image waits again when the lease has ended."""
    image_id = mortal.create()

    def slowly() -> Iterator[bytes]:
        for start in range(0, len(DATA), MIB):
            yield DATA[start : start + MIB]
            time.sleep(0.2)

    def send() -> None:
        with contextlib.suppress(Exception):
            mortal.request(
                "PUT",
                f"/v2/images/{image_id}/stage",
                data=slowly(),
                headers={"Content-Type": "application/octet-stream"},
            )

    sending = threading.Thread(target=send)
    sending.start()
    wait_until(lambda: leftovers(mortal, image_id) != [], "staged bytes", seconds=20)
    kill_all(mortal)
    sending.join()
    assert settled(mortal, image_id) == "queued"
    wait_until(lambda: leftovers(mortal, image_id) == [], "no leftovers", seconds=20)
    assert stage(mortal, image_id, DATA).status_code == 204


def fetching_slowly(folder: Path, path: str, origin: Web, service: ImageService) -> str:
    """An import whose fetch takes some seconds, with its first bytes in staging."""
    origin.files["crash.img"] = DATA
    origin.requests.clear()
    image_id = service.create()
    assert ask(service, image_id, "web-download", uri=origin.url(path), all_stores=True).status_code == 202

    def begun() -> bool:
        return any(path.stat().st_size > 2 * MIB for path in (folder / "staging").iterdir())

    wait_until(begun, "the first bytes", seconds=30)
    return image_id


# The first server vouches for its file; the second has another one each time, which then comes from its first byte on.
@pytest.mark.parametrize(
    "path",
    ["/resume/1000000000/crash.img", pytest.param("/changed/1000000000/crash.img", marks=pytest.mark.long)],
)
@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_fetch_goes_on_from_what_is_staged(origin: Web, path: str, how: str) -> None:
    with scratch("fetch") as folder:
        options = settings(folder, download={"rate": 8 * MIB})
        with image_service(folder, **options) as first:
            image_id = fetching_slowly(folder, path, origin, first)
            if how == "killed":
                kill_all(first)
                assert settled(first, image_id) == "active"
                assert_agrees(first, image_id)
        if how == "stopped":
            with image_service(folder, **options) as second:
                assert settled(second, image_id) == "active"
                assert_agrees(second, image_id)
        asked = [begin for _, begin in origin.requests]
        assert asked[0] is None
        assert len(asked) == 2
        assert asked[1] is not None
        assert int(asked[1].removeprefix("bytes=").removesuffix("-")) > MIB
        kept = [path for path in (folder / "staging").iterdir() if image_id in path.name]
        assert kept == []


def test_a_stopped_service_goes_on_where_it_was(origin: Web) -> None:
    origin.files["crash.img"] = DATA
    with scratch("restart") as folder:
        with image_service(folder, **settings(folder)) as first:
            image_id = begin(first, origin, "glance-direct")
            time.sleep(0.2)
        with image_service(folder, **settings(folder)) as second:
            assert settled(second, image_id) == "active"
            assert_agrees(second, image_id)
