"""All steps, in the order in which they run.

Adding a step means a module in ``pipeline/steps`` and a line here.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.engine.entry import HOUR, MINUTE, Entry
from pipeline.engine.resources import MIB, Needs
from pipeline.recipes.model import Recipe
from pipeline.steps.boot_test.step import BootTest, FirmwareTest
from pipeline.steps.claims import Claims
from pipeline.steps.debian.step import InstallDebian
from pipeline.steps.digest import Digest
from pipeline.steps.image import InstallImage
from pipeline.steps.kickstart.step import InstallKickstart
from pipeline.steps.offline.step import Offline
from pipeline.steps.products import PARTS, Products
from pipeline.steps.scan import Scan
from pipeline.steps.sign.step import Sign
from pipeline.steps.tiny.step import InstallTiny
from pipeline.steps.windows.step import InstallWindows

# What libguestfs gives its appliance.
_APPLIANCE = 1280 * MIB
# What QEMU needs beside its guest's memory.
_MEMORY_OF_QEMU = 256 * MIB
# Its version is that of the library and of what it puts into the appliance.
_LIBGUESTFS = ("guestfish",)


def _written(recipe: Recipe) -> Needs:
    """No installation fills its disk: two fifths of it are plenty."""
    return Needs(disk=recipe.disk.size * 2 // 5)


def _appliance(recipe: Recipe) -> Needs:
    return Needs(memory=_APPLIANCE + _MEMORY_OF_QEMU, disk=recipe.disk.size // 5, guests=1)


def _produced(recipe: Recipe) -> Needs:
    """Kernel and ramdisk are taken out of the disk in an appliance."""
    parts = any(each.format in PARTS for each in recipe.products)
    return _written(recipe) | _appliance(recipe) if parts else _written(recipe)


def _installed(recipe: Recipe) -> Needs:
    memory = getattr(recipe.install, "memory", _APPLIANCE)
    return Needs(memory=memory + _MEMORY_OF_QEMU, disk=recipe.disk.size * 2 // 5, guests=1)


def _booted(recipe: Recipe) -> Needs:
    return Needs(memory=recipe.boot_test.memory + _MEMORY_OF_QEMU, disk=64 * MIB, guests=1)


STEPS: Sequence[Entry] = (
    Entry(InstallTiny(), deadline=10 * MINUTE, needs=_written),
    Entry(InstallImage(), deadline=4 * HOUR, needs=_written),
    Entry(InstallDebian(), deadline=2 * HOUR, needs=_appliance, tools=_LIBGUESTFS),
    Entry(InstallKickstart(), deadline=12 * HOUR, needs=_installed),
    Entry(InstallWindows(), deadline=12 * HOUR, needs=_installed),
    Entry(Offline(), deadline=2 * HOUR, needs=_appliance, tools=_LIBGUESTFS),
    Entry(Products(), deadline=4 * HOUR, needs=_produced),
    Entry(Claims(), deadline=10 * MINUTE),
    Entry(Digest(), deadline=4 * HOUR, gives_way=True),
    Entry(BootTest(), deadline=2 * HOUR, needs=_booted),
    Entry(FirmwareTest(), deadline=2 * HOUR, needs=_booted),
    Entry(Scan(), deadline=2 * HOUR, needs=_appliance, tools=_LIBGUESTFS, gives_way=True),
    Entry(Sign(), after=("claims", "digest", "boot_test", "firmware_test", "scan")),
)
