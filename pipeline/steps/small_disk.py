"""The disk layout of recipes that are written without an installer, shared by the step that makes it and by sealing."""

from __future__ import annotations

from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.host.small_disk import SmallDisk
from pipeline.host.tree import Tree
from pipeline.recipes.model import Recipe
from pipeline.steps.reproducible import EPOCH, identity

ROOT_LABEL, BOOT_LABEL = "cirros-rootfs", "TINYBOOT"
_MBR = (
    Path("/usr/lib/syslinux/mbr/mbr.bin"),
    Path("/usr/lib/SYSLINUX/mbr.bin"),
    Path("/usr/share/syslinux/mbr.bin"),
)


def describe(recipe: Recipe, boot: Tree, root: Tree) -> SmallDisk:
    """The recipe's disk with these contents. Equal contents give equal bytes."""
    return SmallDisk(
        size=recipe.disk.size,
        boot=boot,
        root=root,
        boot_label=BOOT_LABEL,
        root_label=ROOT_LABEL,
        boot_code=boot_code().read_bytes(),
        serial=identity(recipe.name, "boot").int & 0xFFFFFFFF,
        root_identity=identity(recipe.name, "root"),
        time=EPOCH,
    )


def boot_code() -> Path:
    """SYSLINUX's boot sector, which starts the active partition, as a file of this machine."""
    for file in _MBR:
        if file.is_file():
            return file
    raise PipelineError("the boot loader's mbr.bin is not installed", hint="apt install syslinux-common")
