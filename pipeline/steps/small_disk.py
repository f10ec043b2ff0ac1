"""Lay out the disk of recipes that are written without an installer, for the step that makes it and for sealing."""

from __future__ import annotations

from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.host.media.disk_writer import SmallDisk
from pipeline.host.media.file_tree import FileTree
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.reproducible import EPOCH, identity

ROOT_LABEL, BOOT_LABEL = "cirros-rootfs", "TINYBOOT"
_MBR = (
    Path("/usr/lib/syslinux/mbr/mbr.bin"),
    Path("/usr/lib/SYSLINUX/mbr.bin"),
    Path("/usr/share/syslinux/mbr.bin"),
)


def describe(recipe: Recipe, boot: FileTree, root: FileTree) -> SmallDisk:
    """Return the recipe's disk with these contents. Equal contents give equal bytes."""
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
    """Return SYSLINUX's boot sector, which starts the active partition, as a file of this machine."""
    for file in _MBR:
        if file.is_file():
            return file
    raise PipelineError("the boot loader's mbr.bin is not installed", hint="apt install syslinux-common")
