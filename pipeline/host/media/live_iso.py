"""Write a bootable ISO image that carries a whole system in memory: kernel, and the root file system as its initial
RAM disk.

It starts by BIOS (ISOLINUX, El Torito without emulation). No disk is needed, and what the guest writes ends with it.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pycdlib

from pipeline.base import atomic
from pipeline.base.errors import PipelineError
from pipeline.host.media import initramfs

_LOADER = (Path("/usr/lib/ISOLINUX/isolinux.bin"), Path("/usr/share/syslinux/isolinux.bin"))
_PARTS = (Path("/usr/lib/syslinux/modules/bios/ldlinux.c32"), Path("/usr/share/syslinux/ldlinux.c32"))
_HINT = "Debian and Ubuntu: apt install isolinux syslinux-common; Fedora: dnf install syslinux"
_CONFIGURATION = """SERIAL 0 115200
DEFAULT live
PROMPT 0
TIMEOUT 0
LABEL live
  LINUX /vmlinuz
  INITRD /root.gz
  APPEND {line}
"""
_INIT = "live-init"
# A disk's initial RAM disk would have done that: the kernel mounts /dev by itself on a root file system only.
_SCRIPT = b"#!/bin/sh\nmount -t devtmpfs dev /dev\nexec /sbin/init\n"
COMMAND_LINE = f"rdinit=/{_INIT} console=tty0 console=ttyS0,115200"


def write(target: Path, label: str, kernel: Path, root: Path, scratch: Path) -> None:
    """Write the image from a kernel and a tar archive of the root file system. Raises ``PipelineError``."""
    loader, part = (_first(places) for places in (_LOADER, _PARTS))
    packed = scratch / "root.gz"
    with packed.open("wb") as out, gzip.GzipFile("", "wb", 6, out, mtime=0) as stream, tarfile.open(root) as archive:
        for block in _blocks(archive):
            stream.write(block)
    configuration = _CONFIGURATION.format(line=COMMAND_LINE).encode()
    files: dict[str, Path | bytes] = {"/ISOLINUX.BIN;1": loader, "/LDLINUX.C32;1": part, "/VMLINUZ.;1": kernel}
    files |= {"/ROOT.GZ;1": packed, "/ISOLINUX.CFG;1": configuration}
    made = pycdlib.PyCdlib()
    made.new(interchange_level=3, vol_ident=label[:32].upper())
    try:
        for name, content in files.items():
            _add(made, name, content)
        made.add_eltorito("/ISOLINUX.BIN;1", bootcatfile="/BOOT.CAT;1", boot_info_table=True, boot_load_size=4)
        with atomic.new_file(target) as temporary, temporary.open("wb") as out:
            made.write_fp(out)
    finally:
        made.close()
    packed.unlink()


def _blocks(archive: tarfile.TarFile) -> Iterator[bytes]:
    """Yield the archive in the kernel's format. A hard link becomes a file of its own."""
    number = 0
    for number, member in enumerate(archive, 1):
        path = member.name.removeprefix("./").strip("/")
        if not path:
            continue
        data = b""
        if member.issym():
            data = member.linkname.encode()
        elif member.isfile() or member.islnk():
            opened = archive.extractfile(member)
            data = opened.read() if opened else b""
        elif not (member.isdir() or member.ischr() or member.isblk()):
            continue
        yield initramfs.entry(number, path, _mode(member), data, owner=(member.uid, member.gid), device=_device(member))
    yield initramfs.entry(number + 1, _INIT, 0o100755, _SCRIPT)
    yield initramfs.trailer()


def _mode(member: tarfile.TarInfo) -> int:
    kinds = {tarfile.SYMTYPE: 0o120000, tarfile.DIRTYPE: 0o040000, tarfile.CHRTYPE: 0o020000, tarfile.BLKTYPE: 0o060000}
    return kinds.get(member.type, 0o100000) | member.mode & 0o7777


def _device(member: tarfile.TarInfo) -> tuple[int, int]:
    return (member.devmajor, member.devminor) if member.ischr() or member.isblk() else (0, 0)


def _add(made: pycdlib.PyCdlib, name: str, content: Path | bytes) -> None:
    if isinstance(content, Path):
        made.add_file(str(content), name)
    else:
        made.add_fp(io.BytesIO(content), len(content), name)


def _first(places: tuple[Path, ...]) -> Path:
    for location in places:
        if location.is_file():
            return location
    raise PipelineError(f"{places[0].name} is not installed", hint=_HINT)
