"""The engine as somebody without privileges: nothing in it needs root."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.base.home import CHECKOUT
from tests.conftest import OrdinaryUser


def _run(user: OrdinaryUser, *names: str, **files: str) -> tuple[int, str]:
    steering = user.folder / "steering"
    steering.mkdir(exist_ok=True, mode=0o777)
    steering.chmod(0o777)
    for name, text in files.items():
        (steering / name.replace("_", ".")).write_text(text)
    command = [sys.executable, "-m", "tests.integration.engine.run_light", str(steering), *names]
    environment = {"PIPELINE_HOME": str(user.folder / "home"), "PYTHONPATH": str(CHECKOUT)}
    done = user.run("env", "-C", CHECKOUT, *command, env=environment, check=False)
    return done.status, done.stdout + done.stderr


def test_builds_resumes_and_reaps(ordinary_user: OrdinaryUser) -> None:
    status, said = _run(ordinary_user, "one")
    assert status == 0, said
    home = ordinary_user.folder / "home"
    assert (home / "artifacts" / "one" / "one.raw").is_file()
    status, said = _run(ordinary_user, "one")
    assert (status, said.count("cached"), "nothing changed" in said) == (0, 5, True), said
    status, said = _run(ordinary_user, "one", crash_convert="9", input_install="new", input_convert="new")
    assert status == 1 and "its process was ended by SIGKILL" in said
    (ordinary_user.folder / "steering" / "crash.convert").unlink()
    status, said = _run(ordinary_user, "one")
    assert status == 0, said
    assert not list(home.rglob(".partial.*"))


def test_a_home_that_cannot_be_written_is_explained(ordinary_user: OrdinaryUser, tmp_path: Path) -> None:
    if not ordinary_user.prefix:
        pytest.skip("only root can make a folder that the user may not write")
    command = [sys.executable, "-m", "pipeline.cli", "build", "tiny"]
    closed = ordinary_user.folder / "closed"
    closed.mkdir(mode=0o700)
    environment = {"PIPELINE_HOME": str(closed / "home"), "PYTHONPATH": str(CHECKOUT)}
    done = ordinary_user.run("env", "-C", CHECKOUT, *command, env=environment, check=False)
    assert done.status == 1
    assert "Permission denied" in done.stderr and "set PIPELINE_HOME" in done.stderr
    assert "Traceback" not in done.stderr
