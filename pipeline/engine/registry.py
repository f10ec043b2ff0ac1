"""All steps, in the order in which they run.

Adding a step means a module in ``pipeline/steps`` and a line here.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.engine.entry import MINUTE, Entry
from pipeline.engine.resources import MIB, Needs
from pipeline.recipes.model import Recipe
from pipeline.steps.boot_test import BootTest
from pipeline.steps.offline.step import Offline
from pipeline.steps.products import Products
from pipeline.steps.sign import Sign
from pipeline.steps.tiny.step import InstallTiny


def _appliance(recipe: Recipe) -> Needs:
    # libguestfs's appliance has 1280 MiB, and QEMU itself takes some more.
    return Needs(memory=1600 * MIB, disk=recipe.disk.size, guests=1)


def _tested(recipe: Recipe) -> Needs:
    return Needs(memory=recipe.boot_test.memory + 300 * MIB, disk=256 * MIB, guests=1)


def _written(recipe: Recipe) -> Needs:
    return Needs(memory=256 * MIB, disk=2 * recipe.disk.size)


STEPS: Sequence[Entry] = (
    Entry(InstallTiny(), deadline=10 * MINUTE, needs=_written),
    Entry(Offline(), deadline=60 * MINUTE, needs=_appliance),
    Entry(Products(), deadline=240 * MINUTE, needs=_written),
    Entry(BootTest(), deadline=60 * MINUTE, needs=_tested),
    Entry(Sign(), deadline=240 * MINUTE, after=("boot_test",)),
)
