"""A real tiny build, killed at five random moments: the last run finishes, and nothing is left of the others."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from pipeline.base.home import CHECKOUT, Home
from pipeline.engine.store import Store
from pipeline.engine.verify import verify
from tests import leftovers

KILLS = 5
LONGEST = 900


def _start(home: Home) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PIPELINE_HOME": str(home.root)}
    command = [sys.executable, "-m", "pipeline.face", "build", "tiny"]
    return subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _outcomes(home: Home) -> set[str]:
    return {file.stem for file in (home.cache / "outcomes").glob("*.json")}


def _forget_all_but_the_installation(home: Home) -> None:
    for file in (home.cache / "outcomes").glob("*.json"):
        if json.loads(file.read_text())["unit"] != "install":
            file.unlink()


@pytest.mark.guest
@pytest.mark.timeout(1800)
def test_five_kills_of_a_tiny_build(home: Home) -> None:
    chance = random.Random(os.getpid())
    said: list[str] = []
    killed = 0
    while killed < KILLS:
        before = _outcomes(home)
        running = _start(home)
        # Between the first moments of the run and somewhere in the boot test, on a busy machine too.
        moment = chance.uniform(0.5, 30)
        try:
            running.wait(moment)
            _forget_all_but_the_installation(home)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGKILL)
            killed += 1
            assert before <= _outcomes(home), "nothing that was whole is lost"
        running.communicate()
        said.append(f"{moment:.1f} s, {running.returncode}, {len(_outcomes(home))} results")
    begun = time.monotonic()
    running = _start(home)
    last = running.communicate(timeout=LONGEST)[0].decode()
    assert running.returncode == 0, "\n".join([*said, last])
    assert leftovers.of(home) == [], said
    assert verify(Store.open(home.cache)) == []
    manifest = json.loads((home.artifacts / "tiny" / "manifest.json").read_text())
    assert set(manifest["products"]) == {"tiny.qcow2", "tiny.raw"}
    print(f"{said}; finished in {time.monotonic() - begun:.1f} s")
