"""The install step of tiny recipes: a bootable disk from this machine's packages, in seconds, always the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.host import ext4, fat, partitions, process
from pipeline.host import kernel as kernels
from pipeline.recipes.install import TinyInstall
from pipeline.recipes.model import Recipe
from pipeline.steps.reproducible import EPOCH, identity
from pipeline.steps.step import Context, Stage
from pipeline.steps.tiny import boot, system

_MIB = 1 << 20
_BOOT_START = _MIB
_BOOT_SIZE = 31 * _MIB


class InstallTiny:
    """Makes the disk of a tiny recipe."""

    name = "install"
    stage = Stage.INSTALL

    def wanted(self, recipe: Recipe) -> bool:
        """For recipes whose install method is ``tiny``."""
        return isinstance(recipe.install, TinyInstall)

    def inputs(self, recipe: Recipe) -> Mapping[str, Any]:
        """The recipe's words, and digests of every file taken from this machine."""
        kernel = _kernel(recipe)
        root, start = system.build(recipe, kernel, _DAY), boot.build(kernel, _options(recipe).kernel_arguments)
        taken = {node.content for tree in (root, start) for node in tree if isinstance(node.content, Path)}
        digests = {str(path): _digest(path.read_bytes()) for path in sorted(taken)}
        made = {str(node.path): _digest(node.content) for node in root if isinstance(node.content, bytes)}
        return {
            "name": recipe.name,
            "size": recipe.disk.size,
            "kernel": kernel.version,
            "files": digests,
            "made": _digest(repr(sorted(made.items())).encode()),
            "initramfs": _digest(boot.archive(kernel)),
            "tools": [process.run(command, check=False).stderr.splitlines()[:1] for command in _TOOLS],
            "arguments": list(_options(recipe).kernel_arguments),
        }

    def sources(self) -> Sequence[Path]:
        """All of this package, the guest's files with it, and what writes the file systems."""
        here = Path(__file__).parent
        ours = [path for path in sorted(here.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
        return [*ours, *(Path(str(module.__file__)) for module in (ext4, fat, partitions))]

    def run(self, context: Context) -> Mapping[str, Any]:
        """Write boot and root partition into a disk, and the disk as QCOW2."""
        recipe = context.recipe
        kernel = _kernel(recipe)
        root_start = _BOOT_START + _BOOT_SIZE
        # A mebibyte at the end stays free, as partitioning tools leave it.
        root_size = (recipe.disk.size - root_start - _MIB) // _MIB * _MIB
        if root_size < 16 * _MIB:
            raise PipelineError(
                f"recipe {recipe.name}: a tiny guest needs a disk of at least {(root_start + 17 * _MIB) >> 20} MiB",
                hint="set disk.size",
            )
        disk = context.folder / "disk.raw"
        with disk.open("wb") as file:
            file.truncate(recipe.disk.size)
        context.progress.say("writing the boot partition")
        _write_boot(disk, kernel, recipe, context.folder)
        context.progress.say("writing the root file system")
        root = system.build(recipe, kernel, _DAY)
        options = ext4.Options(boot.ROOT_LABEL, identity(recipe.name, "root"), EPOCH)
        ext4.write(disk, root_start, root_size, root, options, context.folder)
        process.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk, context.disk], log=context.log)
        disk.unlink()
        return {"kernel": kernel.version, "files": sum(1 for _ in root)}


_DAY = EPOCH // 86400
_TOOLS = (["mke2fs", "-V"], ["syslinux", "--version"])


def _options(recipe: Recipe) -> TinyInstall:
    if not isinstance(recipe.install, TinyInstall):
        raise TypeError(f"recipe {recipe.name} is not a tiny one")
    return recipe.install


def _kernel(recipe: Recipe) -> kernels.Kernel:
    return kernels.newest(_options(recipe).kernel)


def _write_boot(disk: Path, kernel: kernels.Kernel, recipe: Recipe, folder: Path) -> None:
    image = folder / "boot.fat"
    serial = identity(recipe.name, "boot").int & 0xFFFFFFFF
    tree = boot.build(kernel, _options(recipe).kernel_arguments)
    fat.write(
        image,
        _BOOT_SIZE,
        tree,
        label=boot.BOOT_LABEL,
        serial=serial,
        start=_BOOT_START // partitions.SECTOR,
        time=EPOCH,
    )
    fat.install_syslinux(image, EPOCH)
    partitions.splice(image, disk, _BOOT_START)
    image.unlink()
    root_start = (_BOOT_START + _BOOT_SIZE) // partitions.SECTOR
    root_sectors = (recipe.disk.size // _MIB * _MIB - _MIB) // partitions.SECTOR - root_start
    table = [
        partitions.Partition(root_start, root_sectors, partitions.LINUX),
        partitions.Partition(
            _BOOT_START // partitions.SECTOR, _BOOT_SIZE // partitions.SECTOR, partitions.EFI_SYSTEM, active=True
        ),
    ]
    partitions.write(disk, table, code=boot.loader("mbr.bin").read_bytes(), identity=serial)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
