"""The files that install the service on a host or put it into a container."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.base.home import CHECKOUT
from pipeline.host.system import process
from pipeline.imageservice.serve import PARTS, main
from pipeline.imageservice.server.application import _GRACE
from pipeline.imageservice.server.options import ServerOptions
from pipeline.imageservice.settings import Settings
from tests.environments.daemon import as_nobody, daemon, free_port, scratch
from tests.environments.imageservice import answers

FOLDER = CHECKOUT / "docs" / "image-service"
UNIT = FOLDER / "image-service.service"
HOME = "/opt/golden-images"


def _unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return parser


def _words() -> list[str]:
    return _unit()["Service"]["ExecStart"].split()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    # Verification looks for the program, too.
    here = UNIT.read_text().replace(f"{HOME}/.venv/bin/python", sys.executable).replace(HOME, str(CHECKOUT))
    (tmp_path / UNIT.name).write_text(here)
    told = process.run(["systemd-analyze", "verify", tmp_path / UNIT.name])
    assert told.stdout + told.stderr == ""


@pytest.mark.skipif(not shutil.which("systemd-sysusers"), reason="systemd-sysusers is not installed")
def test_systemd_makes_the_user(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    process.run(["systemd-sysusers", f"--root={tmp_path}", FOLDER / "image-service.conf"])
    [line] = (tmp_path / "etc" / "passwd").read_text().splitlines()
    name, _, number, *_, home, shell = line.split(":")
    assert (name, home, shell) == (_unit()["Service"]["User"], "/var/lib/image-service", "/usr/sbin/nologin")
    assert 0 < int(number) < 1000


def test_the_unit_calls_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert _words()[0] == f"{HOME}/.venv/bin/python"
    assert _words()[1:] == ["-m", main.__module__, "--settings", "/etc/image-service/settings.yaml"]
    assert {"api", "worker"} <= set(PARTS)


def test_the_unit_gives_transfers_the_time_that_the_service_gives_them() -> None:
    timeout = int(_unit()["Service"]["TimeoutStopSec"])
    assert timeout >= ServerOptions.model_fields["stop_timeout"].default + _GRACE


def _instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", (FOLDER / "Containerfile").read_text())
    return [
        (line.split()[0], line.split(maxsplit=1)[1])
        for line in text.splitlines()
        if line.strip() and not line.startswith("#")
    ]


def test_the_container_copies_what_there_is() -> None:
    copied = [words.split() for name, words in _instructions() if name == "COPY"]
    for *sources, _target in copied:
        for source in sources:
            assert source.startswith(("--", "/opt/")) or (CHECKOUT / source).exists(), source


def test_the_container_runs_as_nobody_special_with_settings_that_hold() -> None:
    found = dict(_instructions())
    assert found["USER"] == "image-service"
    assert json.loads(found["ENTRYPOINT"]) == [".venv/bin/python", "-m", main.__module__]
    settings = Settings.load(FOLDER / "container.yaml")
    assert f":{found['EXPOSE']}" in settings.listen
    assert str(settings.folder) == found["VOLUME"]


@pytest.mark.server
def test_the_service_needs_no_rights(tmp_path: Path) -> None:
    with scratch("deployment") as folder:
        port, state = free_port(), folder / "state"
        state.mkdir()
        (folder / "settings.yaml").write_text(json.dumps({"folder": str(state), "listen": f"127.0.0.1:{port}"}))
        user = as_nobody(state, folder)
        reads = [*user, sys.executable, "-c", "import pipeline.imageservice.serve"]
        if subprocess.run(reads, cwd=CHECKOUT, capture_output=True, check=False).returncode:
            pytest.skip("an ordinary user cannot read this checkout")
        words: list[str | Path] = [*user, sys.executable, *_words()[1:-1], folder / "settings.yaml"]
        url, env = f"http://127.0.0.1:{port}", {"PIPELINE_HOME": str(state)}
        with daemon(words, ready=lambda: answers(url), log=folder / "log", cwd=CHECKOUT, env=env):
            pass
        assert "Traceback" not in (folder / "log").read_text()
        for path in state.rglob("*"):
            assert not path.stat().st_mode & 0o007, path
