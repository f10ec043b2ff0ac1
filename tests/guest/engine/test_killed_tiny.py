"""A real tiny build, killed at a random moment of each kind of step: the last run finishes, and nothing is left."""

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
from pipeline.engine.cache.store import CacheStore
from pipeline.engine.cache.verify import verify
from tests import leftovers

# What comes later stands on what was whole before.
STEPS = ("install", "offline", "boot_test", "scan", "sign")
LONGEST = 900
_AFTER = 3.0  # seconds into a step, at the most


def _start(home: Home) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PIPELINE_HOME": str(home.root)}
    command = [sys.executable, "-m", "pipeline.cli", "build", "tiny"]
    return subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _outcomes(home: Home) -> set[str]:
    return {file.stem for file in (home.cache / "outcomes").glob("*.json")}


def _begun(home: Home, run: str | None) -> set[str]:
    """The steps that the newest run has begun; none while ``run`` still is the newest."""
    newest = _newest(home)
    if newest is None or newest == run:
        return set()
    file = home.runs / newest / "events.jsonl"
    # The last line may be half written.
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    return {each["step"] for line in lines if (each := json.loads(line))["event"] == "StepStarted"}


def _newest(home: Home) -> str | None:
    return max((folder.name for folder in home.runs.glob("*")), default=None)


def _kill_in(home: Home, step: str, chance: random.Random) -> str:
    """Kill a build with SIGKILL while it is at ``step``, or soon after; say when."""
    run = _newest(home)
    running = _start(home)
    deadline = time.monotonic() + LONGEST
    while step not in _begun(home, run):
        assert running.poll() is None, running.communicate()[0].decode()
        assert time.monotonic() < deadline, f"{step} was never begun"
        time.sleep(0.05)
    moment = chance.uniform(0, _AFTER)
    time.sleep(moment)
    before = _outcomes(home)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert before <= _outcomes(home), "nothing that was whole is lost"
    return f"{moment:.1f} s into {step}, with {len(before)} results"


@pytest.mark.guest
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [2, pytest.param(len(STEPS), marks=pytest.mark.long)])
def test_kills_of_a_tiny_build(home: Home, kills: int) -> None:
    chance = random.Random(os.getpid())
    steps = sorted(chance.sample(STEPS, kills), key=STEPS.index)
    said = [_kill_in(home, step, chance) for step in steps]
    begun = time.monotonic()
    running = _start(home)
    last = running.communicate(timeout=LONGEST)[0].decode()
    assert running.returncode == 0, "\n".join([*said, last])
    assert leftovers.of(home) == [], said
    assert verify(CacheStore.open(home.cache)) == []
    manifest = json.loads((home.artifacts / "tiny" / "manifest.json").read_text())
    assert set(manifest["products"]) == {"tiny.qcow2", "tiny.raw"}
    print(f"{said}; finished in {time.monotonic() - begun:.1f} s")
