"""List all steps, in the order in which they run.

Adding a step means a module in ``pipeline/steps`` and a line here.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.engine.units.resources import MIB, Needs
from pipeline.engine.units.step_entry import HOUR, MINUTE, StepEntry
from pipeline.recipes.model.kickstart import KickstartInstall
from pipeline.recipes.model.recipe import Recipe
from pipeline.recipes.model.windows import WindowsInstall
from pipeline.steps.boot_test.step import BootTestStep, FirmwareTestStep
from pipeline.steps.claims import ClaimsStep
from pipeline.steps.debian.step import InstallDebian
from pipeline.steps.digest import DigestStep
from pipeline.steps.image import InstallImage
from pipeline.steps.kickstart.step import InstallKickstart
from pipeline.steps.offline.step import OfflineStep
from pipeline.steps.products import PARTS, ProductsStep
from pipeline.steps.scan import ScanStep
from pipeline.steps.sign.step import SignStep
from pipeline.steps.tiny.step import InstallTiny
from pipeline.steps.windows.step import InstallWindows

# What libguestfs gives its appliance.
_APPLIANCE = 1280 * MIB
# What QEMU needs in addition to its guest's memory.
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
    memory = recipe.install.memory if isinstance(recipe.install, KickstartInstall | WindowsInstall) else _APPLIANCE
    return Needs(memory=memory + _MEMORY_OF_QEMU, disk=recipe.disk.size * 2 // 5, guests=1)


def _booted(recipe: Recipe) -> Needs:
    return Needs(memory=recipe.boot_test.memory + _MEMORY_OF_QEMU, disk=64 * MIB, guests=1)


STEPS: Sequence[StepEntry] = (
    StepEntry(InstallTiny(), deadline=10 * MINUTE, needs=_written),
    StepEntry(InstallImage(), deadline=4 * HOUR, needs=_written),
    StepEntry(InstallDebian(), deadline=2 * HOUR, needs=_appliance, tools=_LIBGUESTFS),
    StepEntry(InstallKickstart(), deadline=12 * HOUR, needs=_installed),
    StepEntry(InstallWindows(), deadline=12 * HOUR, needs=_installed),
    StepEntry(OfflineStep(), deadline=2 * HOUR, needs=_appliance, tools=_LIBGUESTFS),
    StepEntry(ProductsStep(), deadline=4 * HOUR, needs=_produced),
    StepEntry(ClaimsStep(), deadline=10 * MINUTE),
    StepEntry(DigestStep(), deadline=4 * HOUR, gives_way=True),
    StepEntry(BootTestStep(), deadline=2 * HOUR, needs=_booted),
    StepEntry(FirmwareTestStep(), deadline=2 * HOUR, needs=_booted),
    StepEntry(ScanStep(), deadline=2 * HOUR, needs=_appliance, tools=_LIBGUESTFS, gives_way=True),
    StepEntry(SignStep(), after=("claims", "digest", "boot_test", "firmware_test", "scan")),
)
