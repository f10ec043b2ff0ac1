"""Lint a Windows recipe against the media, before any guest is started: on a mistake, Setup waits for ever."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.host.media import iso, wim
from pipeline.host.media.wim import WimImage
from pipeline.host.qemu.hardware import Hardware
from pipeline.recipes.model.recipe import Recipe
from pipeline.recipes.model.windows import WindowsInstall
from pipeline.steps.windows.plan import AGENT, LATER_DRIVERS
from pipeline.steps.windows.unattend import BOOT_DRIVERS

_IMAGES = ("sources/install.wim", "sources/install.esd")
_GUEST_AGENT = f"guest-agent/{AGENT}"


def require(recipe: Recipe, install: WindowsInstall, media: Path, drivers: Path) -> WimImage:
    """Return the image that will be installed. Raises ``PipelineError`` with everything that would not work."""
    with iso.opened(media) as medium:
        images = _images(medium, media.name)
        starts = medium.firmware
    problems = [*_editions(install, images), *_hardware(recipe), *_start(recipe, starts, media.name)]
    with iso.opened(drivers) as medium:
        problems += _drivers(install, medium, drivers.name)
    if problems:
        raise PipelineError(
            f"recipe {recipe.name} does not fit its media",
            details=problems,
            hint="mend the recipe, or give other media with --source",
        )
    return next(image for image in images if image.name == install.edition)


def driver_folder(driver: str, install: WindowsInstall) -> str:
    """Return where a driver is on the virtio driver media."""
    return f"{driver}/{install.release}/amd64"


def _images(medium: iso.Medium, name: str) -> list[WimImage]:
    for path in _IMAGES:
        found = medium.find(path)
        if found is not None:
            with medium.open(found) as file:
                return wim.read(file, f"{name}: {path}")
    raise PipelineError(
        f"{name} is no installation medium of Windows: it has neither {' nor '.join(_IMAGES)}",
        hint="give the ISO file as Microsoft publishes it",
    )


def _editions(install: WindowsInstall, images: Sequence[WimImage]) -> Iterator[str]:
    names = [image.name for image in images]
    image = next((each for each in images if each.name == install.edition), None)
    if image is None:
        near = difflib.get_close_matches(install.edition, names, 1, 0.3)
        guess = f"; did you mean {near[0]!r}?" if near else ""
        yield f"install.edition: the media have no {install.edition!r}, but {', '.join(names) or 'nothing'}{guess}"
        return
    if image.languages and install.language not in image.languages:
        yield f"install.language: {install.language}, but the media are {', '.join(image.languages)}"
    if image.architecture not in ("x86_64", "unknown"):
        yield f"architecture: the media are for {image.architecture}"
    if image.build and image.build != install.release.build:
        yield f"install.release: {install.release} has build {install.release.build}, the media have {image.build}"


def _start(recipe: Recipe, starts: Collection[str], name: str) -> Iterator[str]:
    firmware = Hardware.from_properties(recipe.image_properties).firmware
    if firmware not in starts:
        can = f"only {' and '.join(sorted(starts))} can" if starts else "no firmware can"
        yield f"properties.hw_firmware_type: {firmware} cannot start {name}; {can}"


def _drivers(install: WindowsInstall, medium: iso.Medium, name: str) -> Iterator[str]:
    for driver in (*BOOT_DRIVERS, *LATER_DRIVERS):
        folder = driver_folder(driver, install)
        found = medium.find(folder)
        names = (medium.names(found) if found else None) or []
        if not any(each.lower().endswith(".inf") for each in names):
            known = medium.names(medium.find(driver) or driver) or []
            there = f"; of {driver} there are {', '.join(known)}" if known else ""
            yield f"install.drivers: {name} has no driver in {folder}{there}"
    if medium.find(_GUEST_AGENT) is None:
        yield f"install.drivers: {name} has no {_GUEST_AGENT}"


def _hardware(recipe: Recipe) -> Iterator[str]:
    properties = recipe.image_properties
    bus = properties.get("hw_disk_bus", "virtio")
    if bus not in ("virtio", "scsi", "sata", "ide"):
        yield f"properties.hw_disk_bus: Setup cannot install on {bus}"
    if bus == "scsi" and properties.get("hw_scsi_model") != "virtio-scsi":
        yield "properties.hw_scsi_model: Setup gets drivers for virtio-scsi"
    if properties.get("hw_cdrom_bus") in ("scsi", "usb"):
        yield "properties.hw_cdrom_bus: Setup reads its media on ide or sata only"
    if properties.get("os_type") != "windows":
        yield "os.type: must be windows, so that clouds give the guest what Windows needs"
