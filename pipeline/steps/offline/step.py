"""Customise, sysprep, inspect and scrub an installed disk in one launch of the appliance: the offline stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.host.guestfs import contents, root_growth, scrub
from pipeline.host.guestfs.appliance import Appliance, Drive
from pipeline.host.guestfs.guest_system import GuestIdentity, GuestSystem
from pipeline.host.system import kernel
from pipeline.recipes.model.guest import Customize
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.offline import (
    accounts,
    boot_chain,
    customize,
    inspection,
    packages,
    seal,
    selinux,
    sysprep,
    volumes,
)
from pipeline.steps.step import ChangeProbe, Context, ExternalInput, Stage

# Somewhat less than a day, in seconds, so that a run at the same time every night takes what is new.
_PACKAGES_LAST = 20 * 3600.0
# What should be free in the root, in bytes, before packages are installed, and before files are written.
_INSTALLING, _WRITING = 512 << 20, 64 << 20


class OfflineStep:
    """Changes the installed disk into the one that products are made from.

    Its facts: ``inspection`` (what the system is), ``contents`` (its services, ports, users; its files, too, unless the
    scan reads them), ``properties`` (image properties that proves), ``sysprep`` (files changed by operation), ``keys``
    (installed), ``relabel`` (by SELinux, at the first start), ``boot_chain`` (its digest, for recipes that boot by more
    than one firmware), ``volumes`` (of LVM, with new ids), ``scrub`` (file system → method),
    ``sealed``, ``told`` (what a person should know of the guest).
    """

    name = "offline"
    stage = Stage.OFFLINE

    def applies_to(self, recipe: Recipe) -> bool:
        """Return ``True``: every image is inspected at least."""
        return True

    def inputs(self, recipe: Recipe) -> Mapping[str, Any]:
        """Return the recipe's wishes, and the kernel the appliance runs."""
        return {
            "customize": recipe.customize.model_dump(mode="json"),
            "sysprep": recipe.sysprep.model_dump(mode="json"),
            "admin_user": recipe.os.admin_user,
            "name": recipe.name,
            "root": recipe.disk.root,
            "files": not recipe.scan.enabled,
            "boot_chain": _boots_often(recipe),
            "appliance": kernel.newest().version,
        }

    def external_inputs(self, recipe: Recipe) -> Sequence[ExternalInput]:
        """Return the guest's own repositories, if it takes packages from them: only the guest knows where they are."""
        if not packages.needs_network(recipe.customize):
            return []
        return [
            ExternalInput("packages of the guest", ("urn:repositories-of-the-guest",), ChangeProbe.TIME, _PACKAGES_LAST)
        ]

    def run(self, context: Context) -> Mapping[str, Any]:
        """Launch the appliance once and do it all."""
        recipe, progress = context.recipe, context.progress
        appliance = Appliance(
            accelerator=context.accelerator,
            cache=context.home.cache / "appliance",
            scratch=context.folder,
            log=context.log,
        )
        facts: dict[str, Any] = {}
        progress.say("launching the appliance")
        network = packages.needs_network(recipe.customize)
        with appliance.launched([Drive(context.disk, "qcow2")], network=network) as handle:
            progress.say("inspecting")
            system = _opened(handle, context)
            if recipe.customize != Customize() and not seal.is_due(recipe):
                root_growth.make_room(system, _INSTALLING if packages.needs_network(recipe.customize) else _WRITING)
            progress.say("customising")
            customize.apply(system, recipe, progress)
            if recipe.sysprep.enabled:
                progress.say("removing what identifies the build")
                facts["sysprep"] = sysprep.apply(system, recipe)
                facts["volumes"] = volumes.renew(system, recipe)
            facts["keys"] = accounts.install_keys(system, recipe)
            facts["relabel"] = selinux.relabel_at_start(system)
            facts["inspection"] = inspection.facts(system)
            facts["contents"] = contents.facts(system)
            if not recipe.scan.enabled:
                facts["contents"]["files"] = contents.files(system, context.folder)
            # Listing them takes an emulated appliance some seconds.
            systems = handle.list_filesystems()
            if _boots_often(recipe):
                facts["boot_chain"] = boot_chain.digest(system, systems)
            archive = seal.take_out(system, context.folder) if seal.is_due(recipe) else None
            if archive is None and recipe.sysprep.scrub:
                progress.say("scrubbing free space")
                handle.umount_all()
                facts["scrub"] = scrub.scrub(handle, systems, progress=progress)
            facts["told"] = system.notes
            for text in system.notes:
                progress.say(text)
        facts["properties"] = inspection.derived(facts["inspection"])
        facts["sealed"] = archive is not None
        if archive is not None:
            progress.say("writing the disk anew from its files")
            seal.write(recipe, archive, context.disk, context.folder)
        return facts


def _opened(handle: Any, context: Context) -> GuestSystem:
    """Return the installed system; it need not be inspected again each time something is changed in it."""
    known = context.facts.get("install", {}).get("system")
    if known is None:
        return GuestSystem.open(handle, context.log, root=context.recipe.disk.root)
    return GuestSystem.known(handle, GuestIdentity(**known), context.log)


def _boots_often(recipe: Recipe) -> bool:
    """Whether it matters what all firmwares load. A disk that is written anew boots with each of them anyway."""
    return len(set(recipe.boot_test.firmware)) > 1 and not seal.is_due(recipe)
