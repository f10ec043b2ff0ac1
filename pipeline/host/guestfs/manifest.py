"""List what is in an image: every path with its mode, owner, attributes and digest, and how the disk is laid out.

Read in the appliance in one stream, without keeping a byte of the contents.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.host.guestfs import tar_stream
from pipeline.host.guestfs.appliance import Appliance, Drive
from pipeline.host.guestfs.guest_system import GuestSystem

_XATTR = "SCHILY.xattr."
_KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.GNUTYPE_SPARSE: "file",
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "link",
    tarfile.LNKTYPE: "hard link",
    tarfile.CHRTYPE: "device",
    tarfile.BLKTYPE: "device",
    tarfile.FIFOTYPE: "pipe",
}


@dataclass(frozen=True, order=True)
class ManifestEntry:
    """One path. ``content`` is a SHA-256 of a file's bytes, the target of a link, the numbers of a device."""

    path: str
    kind: str
    mode: int
    owner: int
    group: int
    content: str
    xattrs: tuple[tuple[str, str], ...]
    time: int

    @property
    def identity(self) -> tuple[Any, ...]:
        """Everything but the time."""
        return (self.path, self.kind, self.mode, self.owner, self.group, self.content, self.xattrs)


@dataclass(frozen=True)
class Manifest:
    """An image's paths, sorted, and facts on its disk: partitions, file systems, boot code."""

    nodes: tuple[ManifestEntry, ...]
    disk: dict[str, str]


def read(image: Path, image_format: str, appliance: Appliance) -> Manifest:
    """Look into ``image``. Raises ``PipelineError`` when there is no operating system in it."""
    with appliance.launched([Drive(image, image_format, read_only=True)]) as handle:
        disk = dict(_disk(handle))
        system = GuestSystem.open(handle, appliance.log)
        disk["boot code"] = hashlib.sha256(system.first_sectors()).hexdigest()
        found = tuple(sorted(nodes(handle, appliance.scratch)))
    return Manifest(found, disk)


def _disk(handle: Any) -> Iterator[tuple[str, str]]:
    for device in handle.list_devices():
        yield f"size of {device}", str(handle.blockdev_getsize64(device))
        try:
            kind = handle.part_get_parttype(device)
        except RuntimeError:
            continue  # no partition table
        yield f"partition table of {device}", str(kind)
        for part in handle.part_list(device):
            yield f"partition {device}{part['part_num']}", f"{part['part_start']} to {part['part_end']}"
    for name, kind in sorted(handle.list_filesystems().items()):
        if kind not in ("swap", "unknown"):
            yield f"file system of {name}", str(kind)
            yield f"UUID of {name}", str(handle.vfs_uuid(name))
            yield f"label of {name}", str(handle.vfs_label(name))


def nodes(handle: Any, scratch: Path, *, attributes: bool = True) -> list[ManifestEntry]:
    """Return all paths of the mounted file systems, unsorted, with or without extended attributes and access lists.

    ``scratch`` is the folder the appliance was launched with. Raises ``PipelineError`` when not all can be read.
    """
    with tar_stream.opened(handle, scratch, attributes=attributes) as archive:
        return [node(member, _digest(archive, member)) for member in tar_stream.members(archive)]


def node(member: tarfile.TarInfo, digest: str = "") -> ManifestEntry:
    """Return what a member of a tar archive tells; ``digest`` is the SHA-256 of the bytes, if it is a file."""
    attributes = ((name, value) for name, value in member.pax_headers.items() if name.startswith(_XATTR))
    return ManifestEntry(
        path="/" + member.name.removeprefix("./").strip("/"),
        kind=_KINDS.get(member.type, "other"),
        mode=member.mode,
        owner=member.uid,
        group=member.gid,
        content=_content(member) or digest,
        xattrs=tuple(sorted((name.removeprefix(_XATTR), value) for name, value in attributes)),
        time=int(member.mtime),
    )


def _content(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return member.linkname
    return f"{member.devmajor}:{member.devminor}" if member.isdev() else ""


def _digest(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    opened = archive.extractfile(member) if member.isfile() else None
    if opened is None:
        return ""
    digest = hashlib.sha256()
    while block := opened.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
