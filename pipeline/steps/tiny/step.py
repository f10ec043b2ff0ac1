"""Install tiny recipes: a bootable disk from this machine's packages, in seconds, always the same bytes."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.host.system import kernel as kernels
from pipeline.host.system import package_of_file, process, tool_versions
from pipeline.recipes.model.install import TinyInstall
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps import small_disk
from pipeline.steps.reproducible import EPOCH
from pipeline.steps.step import ChangeProbe, Context, ExternalInput, Stage
from pipeline.steps.tiny import boot, system

_TODAY = EPOCH // 86400
# What writes the file systems: other versions may lay them out differently.
_TOOLS = (["mke2fs", "-V"], ["syslinux", "--version"])


class InstallTiny:
    """Makes the disk of a tiny recipe."""

    name = "install"
    stage = Stage.INSTALL

    def applies_to(self, recipe: Recipe) -> bool:
        """Return whether the recipe's install method is ``tiny``."""
        return isinstance(recipe.install, TinyInstall)

    def inputs(self, recipe: Recipe) -> Mapping[str, Any]:
        """Return the recipe's words, and digests of every file taken from this machine."""
        kernel = _kernel(recipe)
        root, start = system.build(recipe, kernel, _TODAY), boot.tree(kernel, _options(recipe).kernel_arguments)
        taken = {node.content for node in (*root, *start) if isinstance(node.content, Path)}
        made = {str(node.path): _digest(node.content) for node in root if isinstance(node.content, bytes)}
        return {
            "name": recipe.name,
            "size": recipe.disk.size,
            "kernel": kernel.version,
            "arguments": list(_options(recipe).kernel_arguments),
            "files": {str(path): _digest(path.read_bytes()) for path in sorted(taken)},
            "made": _digest(repr(sorted(made.items())).encode()),
            "initramfs": _digest(boot.archive(kernel)),
            "tools": [tool_versions.output_of(command, check=False).stderr.splitlines()[:1] for command in _TOOLS],
        }

    def external_inputs(self, recipe: Recipe) -> Sequence[ExternalInput]:
        """Return the packages of this machine that it is made of."""
        found = set(package_of_file.packages(_taken(_kernel(recipe))).values())
        return [ExternalInput(f"package {each.name}", (each.url,), ChangeProbe.MACHINE) for each in sorted(found)]

    def run(self, context: Context) -> Mapping[str, Any]:
        """Write boot and root partition into a disk, and the disk as QCOW2."""
        recipe, kernel = context.recipe, _kernel(context.recipe)
        context.progress.say(f"writing the disk with kernel {kernel.version}")
        root = system.build(recipe, kernel, _TODAY)
        disk = small_disk.describe(recipe, boot.build(kernel, _options(recipe).kernel_arguments), root)
        raw = context.folder / "disk.raw"
        disk.write(raw, context.folder)
        process.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, context.disk], log=context.log)
        raw.unlink()
        return {
            "kernel": kernel.version,
            "files": sum(1 for _ in root),
            "dependencies": package_of_file.materials(_taken(kernel)),
        }


def _options(recipe: Recipe) -> TinyInstall:
    if not isinstance(recipe.install, TinyInstall):
        raise TypeError(f"recipe {recipe.name} is not a tiny one")
    return recipe.install


def _kernel(recipe: Recipe) -> kernels.Kernel:
    return kernels.newest(_options(recipe).kernel)


def _taken(kernel: kernels.Kernel) -> list[Path]:
    """Every file of this machine that goes into the disk."""
    return [*system.taken(kernel), *boot.taken(kernel), small_disk.boot_code(), _loader()]


def _loader() -> Path:
    # SYSLINUX's program carries what it installs.
    found = shutil.which("syslinux")
    if found is None:
        raise PipelineError("syslinux is not installed", hint="apt install syslinux")
    return Path(found).resolve()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
