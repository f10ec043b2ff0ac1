"""The service in the background: start, status, stop, and what happens when its processes are killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.base.home import CHECKOUT
from pipeline.host.system import process
from pipeline.host.system.process import Finished
from tests.environments.daemon import free_port, listens, wait_until
from tests.environments.imageservice import ImageService, image_service

pytestmark = pytest.mark.server


class Face:
    """``./inv`` with a service of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.settings = folder / "settings.yaml"
        self.write(listen=f"127.0.0.1:{self.port}")

    def write(self, **settings: object) -> None:
        usual = {"folder": str(self.folder / "state"), "server": {"processes": 1}}
        self.settings.write_text(json.dumps({**usual, **settings}))

    def __call__(self, task: str, *words: str) -> Finished:
        command: list[str | Path] = [sys.executable, "-m", "pipeline.cli", task, "--settings", self.settings, *words]
        return process.run(command, cwd=CHECKOUT, env={"PIPELINE_HOME": str(self.folder)}, check=False, timeout=90)


@pytest.fixture
def face(tmp_path: Path) -> Iterator[Face]:
    made = Face(tmp_path)
    yield made
    made("service.stop", "--now")


def test_start_status_stop(face: Face) -> None:
    assert face("service.status").status == 1
    started = face("service.start")
    assert started.status == 0, started.stderr
    assert f"http://127.0.0.1:{face.port}" in started.stdout
    assert str(face.folder / "state" / "token") in started.stdout
    again = face("service.start")
    assert (again.status, again.stdout) == (0, started.stdout)
    told = json.loads(face("service.status", "--json").stdout)
    assert told["answers"]
    assert str(told["pid"]) in started.stdout
    stopped = face("service.stop")
    assert (stopped.status, stopped.stdout.strip()) == (0, "the image service has ended")
    assert not listens(face.port)
    assert "was not running" in face("service.stop").stdout
    assert list((face.folder / "state").glob("service.pid")) == []


def test_the_tokens_file_is_closed_to_others(face: Face) -> None:
    face("service.start")
    assert (face.folder / "state" / "token").stat().st_mode & 0o077 == 0
    assert (face.folder / "state").stat().st_mode & 0o077 == 0


def test_an_occupied_port_is_said_with_its_owner(face: Face) -> None:
    with socket.create_server(("127.0.0.1", face.port)):
        for task in ("service.start", "serve"):
            failed = face(task)
            assert failed.status == 1
            assert f"127.0.0.1:{face.port} is taken by" in failed.stderr
            assert f"process {os.getpid()}" in failed.stderr
            assert "hint:" in failed.stderr
            assert "Traceback" not in failed.stderr


def test_all_mistakes_in_the_settings_are_told_at_once(face: Face) -> None:
    face.write(listen="127.0.0.1:1", server={"processes": 0, "speed": "high"}, default_store="none")
    failed = face("service.start")
    assert failed.status == 1
    for text in ("server.processes", "server.speed", "settings.yaml:1"):
        assert text in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_store_that_cannot_be_used_is_said(face: Face) -> None:
    (face.folder / "file").write_text("")
    face.write(listen=f"127.0.0.1:{face.port}", stores=[{"id": "a", "directories": [str(face.folder / "file" / "x")]}])
    failed = face("service.start")
    assert failed.status == 1
    assert "store a" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.fixture
def service() -> Iterator[ImageService]:
    with image_service(server={"processes": 1}) as running:
        yield running


def test_when_the_parent_is_killed_everything_ends(service: ImageService) -> None:
    everybody = service.processes()
    assert len(everybody) == 4  # parent, HTTP server, its API process, worker
    os.kill(service.child.pid, signal.SIGKILL)
    wait_until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in everybody[1:]), "all gone", seconds=30)
    assert not listens(int(service.url.rpartition(":")[2]))


@pytest.mark.parametrize("number", [2, 3])
def test_a_killed_process_is_replaced(service: ImageService, number: int) -> None:
    victim = service.processes()[number]
    os.kill(victim, signal.SIGKILL)
    wait_until(
        lambda: len([pid for pid in service.processes() if _alive(pid)]) == 4 and victim not in service.processes(),
        "a new process",
        seconds=20,
    )
    assert service.request("GET", "/v2/images").status_code == 200


def _alive(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except OSError:
        return False


def test_when_the_http_server_ends_the_service_ends(service: ImageService) -> None:
    os.kill(service.processes()[1], signal.SIGTERM)
    assert service.child.wait(30) == 0
