"""Write a disk anew from its files, so that nothing of how they came there remains: equal files, equal bytes.

A kernel that writes a file system leaves times, counters and its own choice of blocks in it. Recipes whose disk was
written without a kernel get it back that way; what was deleted meanwhile is gone for the same reason.
"""

from __future__ import annotations

import contextlib
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs import tar_stream
from pipeline.host.guestfs.guest_system import GuestSystem
from pipeline.host.media.file_tree import FileTree
from pipeline.host.system import process
from pipeline.recipes.model.install import TinyInstall
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps import small_disk

_BOOT = PurePosixPath("/boot")
# SYSLINUX's own files are installed with the file system, not copied.
_INSTALLED = ("ldlinux.sys", "ldlinux.c32")


def is_due(recipe: Recipe) -> bool:
    """Return whether the recipe's disk is one that can be written anew."""
    return isinstance(recipe.install, TinyInstall)


def take_out(system: GuestSystem, folder: Path) -> Path:
    """Copy the guest's files, boot partition included, out of the appliance, which was launched with ``folder``."""
    archive = folder / "guest.tar"
    tar_stream.save(system.handle, folder, archive)
    return archive


def write(recipe: Recipe, archive: Path, disk: Path, folder: Path) -> None:
    """Write the files in ``archive`` as the contents of ``disk``, an overlay that stays one over the same base."""
    raw = folder / "sealed.raw"
    with _trees(archive, folder) as (boot, root):
        small_disk.describe(recipe, boot, root).write(raw, folder)
    # -n: into the overlay that is there.
    process.run(["qemu-img", "convert", "-n", "-f", "raw", "-O", "qcow2", raw, disk])
    raw.unlink()
    archive.unlink()


@contextlib.contextmanager
def _trees(archive: Path, folder: Path) -> Iterator[tuple[FileTree, FileTree]]:
    """Provide the trees of boot partition and root, with files kept in ``folder`` while the block lasts."""
    boot, root = FileTree(), FileTree()
    contents = folder / "sealed"
    contents.mkdir()
    try:
        with tarfile.open(archive) as tar:
            for number, member in enumerate(tar):
                path = PurePosixPath("/", member.name)
                inside_boot = path.is_relative_to(_BOOT) and path != _BOOT
                if inside_boot and path.name in _INSTALLED:
                    continue
                location = str(path.relative_to(_BOOT)) if inside_boot else str(path)
                if path != PurePosixPath("/"):
                    _add(boot if inside_boot else root, location, tar, member, contents / str(number))
        yield boot, root
    finally:
        process.run(["rm", "-rf", contents])


def _add(tree: FileTree, path: str, tar: tarfile.TarFile, member: tarfile.TarInfo, kept: Path) -> None:
    if member.isdir():
        tree.add_folder(path, member.mode, uid=member.uid, gid=member.gid)
    elif member.issym():
        tree.add_link(path, member.linkname)
    elif member.isfile() or member.islnk():
        source = tar.extractfile(member)
        if source is None:
            raise PipelineError(f"{path}: cannot be read back from the guest")
        with kept.open("wb") as out:
            while block := source.read(1 << 20):
                out.write(block)
        tree.add_file(path, kept, member.mode, uid=member.uid, gid=member.gid)
    else:
        raise PipelineError(
            f"{path} is neither file, folder nor link", hint="a tiny guest gets its devices from the kernel; remove it"
        )
