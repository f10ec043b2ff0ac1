"""Write FAT file systems into a file, as an ordinary user, without a mount: the same bytes from the same tree."""

from __future__ import annotations

from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.host.media.file_tree import FileTree
from pipeline.host.system import process

_HINT = "Debian and Ubuntu: apt install dosfstools mtools syslinux; Fedora: dnf install dosfstools mtools syslinux"


def write(image: Path, size: int, tree: FileTree, *, label: str, serial: int, start: int, time: int) -> None:
    """Make the file ``image``: a FAT file system of ``size`` bytes with ``tree`` in it.

    ``serial`` is the volume's 32-bit number; ``start`` the sector where it will lie on its disk, which boot code wants
    to know; ``time`` is in seconds since the epoch, for every entry.
    """
    image.unlink(missing_ok=True)
    with image.open("wb") as file:
        file.truncate(size)
    process.run(
        ["mkfs.fat", "--invariant", "-i", f"{serial:08x}", "-n", label, "-h", str(start), image],
        hint=_HINT,
        env=_dated(time),
    )
    for node in tree:
        if node.is_folder:
            process.run(["mmd", "-i", image, f"::{node.path}"], env=_dated(time), hint=_HINT)
        elif node.is_link:
            raise PipelineError(f"{node.path}: FAT has no symbolic links")
        else:
            _copy(image, node.content, f"::{node.path}", time)


def install_syslinux(image: Path, time: int) -> None:
    """Make the FAT file system in ``image`` bootable by a PC BIOS (SYSLINUX, its configuration in /syslinux.cfg)."""
    process.run(["syslinux", "--install", image], env=_dated(time), hint=_HINT)


def _copy(image: Path, content: bytes | Path | str, name: str, time: int) -> None:
    source, fed = (content, None) if isinstance(content, Path) else ("-", content)
    process.run(
        ["mcopy", "-i", image, source, name],
        env=_dated(time),
        stdin=fed.encode() if isinstance(fed, str) else fed,
        hint=_HINT,
    )


def _dated(time: int) -> dict[str, str]:
    return {"SOURCE_DATE_EPOCH": str(time), "MTOOLS_SKIP_CHECK": "1"}
