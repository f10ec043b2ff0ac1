"""Nights of three recipes, killed at random moments: the next one finishes, and consumers never see a half."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.engine.build import build
from pipeline.engine.cache.store import CacheStore
from pipeline.engine.cache.verify import verify
from pipeline.engine.run.options import BuildOptions
from pipeline.engine.units.step_entry import StepEntry
from pipeline.publishing import nightly
from pipeline.recipes.model.recipe import Recipe
from pipeline.recipes.nightly import Nightly, Target
from pipeline.steps.step import Context, Stage
from tests import leftovers
from tests.integration.engine import light
from tests.integration.publishing.conftest import STORES, Desk
from tests.integration.publishing.world import hurried

pytestmark = [pytest.mark.server, pytest.mark.long]

KILLS = 50
NAMES = ("one", "two", "three")


class Digest(light.Sign):
    """Digests the products and signs nothing: what is tested here is not signatures."""

    def work(self, context: Context) -> Mapping[str, Any]:
        products = super().work(context)["products"]
        return {"products": {name: {**facts, "signature": {}} for name, facts in products.items()}}


class Boot(light.Boot):
    """Says what a boot test says: publishing holds back what was not booted."""

    def work(self, context: Context) -> Mapping[str, Any]:
        return {**super().work(context), "firmware": {"bios": {"seconds": 12.0}}, "ports": []}


def _steps(steering: Path) -> list[StepEntry]:
    layers = light.steps(steering)[:3]
    return [
        *layers,
        StepEntry(Boot(steering, "boot_test", Stage.RECORD)),
        StepEntry(Digest(steering, "sign", Stage.RECORD), after=("boot_test",)),
    ]


def _recipes(run: str, number: int) -> list[Recipe]:
    # Every night's disks are a little larger, so that there is always something new to build and to publish.
    return [
        light.recipe(
            f"{run}-{name}",
            disk={"size": f"{1024 + number}KiB"},
            customize={"hostname": "x" * (location + 1)},
            products=[{"format": "raw"}],
        )
        for location, name in enumerate(NAMES)
    ]


def _night(desk: Desk, steering: Path, run: str, number: int) -> int:
    """A night in a process of its own; its id. It ends with 0 if everything is good."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            settings = Nightly(recipes=NAMES, targets=(Target(cloud="here", stores=STORES),), delete_old=False)
            night = nightly.run(
                _recipes(run, number),
                settings,
                BuildOptions(home=desk.home, accelerator="tcg"),
                builder=lambda recipes, options: build(recipes, options, steps=_steps(steering)),
                retry_policy=hurried(),
            )
            status = 0 if night.is_good else 2
            lines = [f"{each.recipe}: {each.outcome} {each.error or ''}" for each in night.publish_results]
            lines += [str(each.error) for each in night.builds if each.error]
            lines += [str(each.error) for each in night.rotations if each.error]
            (steering / "errors").write_text("\n".join(lines))
        finally:
            os._exit(status)
    return child


def _finish(child: int, steering: Path) -> None:
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    errors = steering / "errors"
    assert status == 0, errors.read_text() if errors.exists() else status


@pytest.mark.timeout(3600)
def test_fifty_kills_of_a_nightly_of_three_recipes(desk: Desk, tmp_path: Path) -> None:
    steering = tmp_path / "steering"
    steering.mkdir()
    run = desk.recipe.name
    chance = random.Random(7)
    begun = time.monotonic()
    _finish(_night(desk, steering, run, 0), steering)
    usual = time.monotonic() - begun
    api = desk.api()
    number = hits = 0
    while hits < KILLS:
        number += 1
        child = _night(desk, steering, run, number)
        time.sleep(chance.uniform(0, usual))
        if os.waitpid(child, os.WNOHANG) == (0, 0):
            hits += 1
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        # Those that were over already prove nothing, and may not be many.
        assert hits >= number // 2, "the kills come when nights are over"
        for recipe in _recipes(run, number):
            # Whatever happened: whole images; two only when the kill came between the two requests of a switch.
            seen = list(api.visible(name=recipe.name))
            assert 1 <= len(seen) <= 2
            assert all(each.status == "active" and each.size for each in seen)
        _finish(_night(desk, steering, run, number), steering)
        assert leftovers.of(desk.home) == []
        for recipe in _recipes(run, number):
            (newest,) = list(api.visible(name=recipe.name))
            assert (newest.status, newest.size) == ("active", recipe.disk.size)
    assert verify(CacheStore.open(desk.home.cache)) == []
