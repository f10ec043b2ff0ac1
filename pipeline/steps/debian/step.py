"""Install Debian recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs.appliance import Appliance, Drive
from pipeline.host.guestfs.guest_files import GuestFiles
from pipeline.host.guestfs.guest_system import GuestSystem
from pipeline.host.system import kernel, process
from pipeline.recipes.model.debian import DebianInstall
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.debian import bootstrap, disk
from pipeline.steps.step import Context, ExternalInput, Stage


class InstallDebian:
    """Bootstraps Debian and makes it bootable."""

    name = "install"
    stage = Stage.INSTALL

    def applies_to(self, recipe: Recipe) -> bool:
        """Return whether the recipe's install method is ``mmdebstrap``."""
        return isinstance(recipe.install, DebianInstall)

    def inputs(self, recipe: Recipe) -> Mapping[str, Any]:
        """Return the recipe's wishes. What the archive holds is locked by the engine, from ``external_inputs``."""
        return {
            "install": recipe.install.model_dump(mode="json"),
            "name": recipe.name,
            "size": recipe.disk.size,
            "packages": list(bootstrap.PACKAGES),
            "appliance": kernel.newest().version,
        }

    def external_inputs(self, recipe: Recipe) -> Sequence[ExternalInput]:
        """Return the archive's signed indices: they name every package's digest."""
        install = _options(recipe)
        found = [_index("debian", install.mirrors, suite) for suite in (install.suite, f"{install.suite}-updates")]
        return [
            *found,
            *([_index("security", install.security, f"{install.suite}-security")] if install.security else []),
        ]

    def run(self, context: Context) -> Mapping[str, Any]:
        """Bootstrap, then unpack into a new disk."""
        recipe, install = context.recipe, _options(context.recipe)
        if context.offline:
            raise PipelineError(
                f"recipe {recipe.name} is installed from the network, which is not to be used",
                hint="leave out --offline once; the installed layer is kept",
            )
        lines = bootstrap.sources(
            install,
            _place(context, f"debian {install.suite}", install.mirrors),
            _place(context, f"security {install.suite}-security", install.security) if install.security else None,
        )
        root, raw = context.folder / "root", context.folder / "disk.raw"
        context.progress.say(f"bootstrapping {install.suite}")
        packages = context.home.cache / "packages" / recipe.name
        workplace = bootstrap.BootstrapDirs(context.folder, packages, context.log)
        taken = bootstrap.run(install, lines, disk.early(recipe, install), root, workplace)
        context.progress.say("writing the disk")
        disk.partition(raw, recipe)
        disk.write_root(root, raw, recipe, context.log)
        context.progress.say("making it bootable")
        appliance = Appliance(context.accelerator, context.home.cache / "appliance", context.folder, context.log)
        with appliance.launched([Drive(raw, "raw")]) as handle:
            disk.make_bootable(GuestFiles(handle, context.log), install)
            handle.umount_all()
            system = GuestSystem.open(handle, context.log)
        process.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, context.disk], log=context.log)
        raw.unlink()
        return {"suite": install.suite, "sources": lines, "dependencies": taken, "system": asdict(system.identity)}


def _options(recipe: Recipe) -> DebianInstall:
    if not isinstance(recipe.install, DebianInstall):
        raise TypeError(f"recipe {recipe.name} is not bootstrapped")
    return recipe.install


def _index(archive: str, mirrors: Sequence[str], suite: str) -> ExternalInput:
    urls = tuple(f"{mirror}/dists/{suite}/InRelease" for mirror in mirrors)
    return ExternalInput(f"{archive} {suite}", urls, form=b"-----BEGIN PGP SIGNED MESSAGE-----")


def _place(context: Context, name: str, mirrors: Sequence[str]) -> str:
    """Return the mirror that answered when the recipe was locked, else the first."""
    found = str(context.locked.get(name, {}).get("url", ""))
    return next((mirror for mirror in mirrors if found.startswith(mirror)), mirrors[0])
