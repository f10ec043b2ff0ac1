"""Install Windows recipes: check against the media, install, prove."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.host.guestfs.appliance import Appliance, Drive
from pipeline.host.guestfs.guest_system import GuestSystem
from pipeline.host.qemu.accelerator import emulator
from pipeline.host.qemu.hardware import Hardware
from pipeline.host.system import kernel
from pipeline.host.system import tool_versions as versions
from pipeline.recipes.model.product import Firmware
from pipeline.recipes.model.recipe import Recipe
from pipeline.recipes.model.source_given import missing
from pipeline.recipes.model.windows import WindowsInstall
from pipeline.steps.step import Context, Stage
from pipeline.steps.windows import check, lint, media, postcheck, unattend
from pipeline.steps.windows import run as setup


class InstallWindows:
    """Makes the disk of a recipe by Windows Setup.

    Its facts: ``edition``, ``build``, ``image_state``, ``product`` as the registry has them, ``seconds`` of the guest.
    """

    name = "install"
    stage = Stage.INSTALL

    def applies_to(self, recipe: Recipe) -> bool:
        """Return whether the recipe's install method is ``windows``."""
        return isinstance(recipe.install, WindowsInstall)

    def inputs(self, recipe: Recipe) -> Mapping[str, Any]:
        """Return media, drivers and packages by their digests, and the hardware. The build's
        password changes nothing.
        """
        install, home = _options(recipe), Home.default()
        if install.file is None:
            raise missing(recipe.name, install.supplied)
        drivers, cloudbase = media.identities((install.drivers, install.cloudbase_init), home)
        left_out = {"file", "supplied", "drivers", "cloudbase_init", "timeout", "start_timeout"}
        return {
            "media": install.file.sha256,
            "install": install.model_dump(mode="json", exclude=left_out),
            "drivers": drivers,
            "cloudbase-init": cloudbase,
            "disk": recipe.disk.size,
            "hardware": str(Hardware.from_properties(recipe.image_properties)),
            "appliance": kernel.newest().version,
            "qemu": versions.version(emulator()),
        }

    def run(self, context: Context) -> Mapping[str, Any]:
        """Hold the recipe against the media; then have Setup do it, and look at what came out."""
        recipe, install = context.recipe, _options(context.recipe)
        if install.file is None:
            raise missing(recipe.name, install.supplied)
        drivers, cloudbase = (
            media.companion_file(each, context.home, progress=context.progress, offline=context.offline)
            for each in (install.drivers, install.cloudbase_init)
        )
        context.progress.say("checking the recipe against the media")
        image = lint.require(recipe, install, install.file.path, drivers)
        medium = context.folder / "answers.iso"
        firmware = Firmware(Hardware.from_properties(recipe.image_properties).firmware)
        text = unattend.render(recipe, install, firmware, secrets.token_urlsafe(24))
        media.write(medium, install, text, drivers, cloudbase, context.folder)
        try:
            seconds = setup.run(context, install, install.file.path, medium)
        except setup.SetupFailed as error:
            context.progress.say("reading the logs of Setup")
            complaints = postcheck.guest_report(context)
            message = f"{error.message}; {complaints[-1]}" if complaints else error.message
            raise PipelineError(message, hint=error.hint, details=[*error.details, *complaints]) from error
        finally:
            medium.unlink(missing_ok=True)
        context.progress.say("looking at what Setup left")
        return {"edition": image.name, "seconds": round(seconds, 1), **_proven(context)}


def _proven(context: Context) -> Mapping[str, Any]:
    appliance = Appliance(context.accelerator, context.home.cache / "appliance", context.folder, context.log)
    with appliance.launched([Drive(context.disk, "qcow2", read_only=True)]) as handle:
        try:
            system = GuestSystem.open(handle, context.log)
        except PipelineError as error:
            raise PipelineError(
                f"Windows powered off, but there is none on the disk: {error.message}",
                hint="see the screenshot of the installation",
            ) from error
        return check.require_generalized(system)


def _options(recipe: Recipe) -> WindowsInstall:
    if not isinstance(recipe.install, WindowsInstall):
        raise TypeError(f"recipe {recipe.name} is not installed by Windows Setup")
    return recipe.install
