"""Scan the files of a finished image, read through the appliance as one stream of tar.

The appliance reads the file systems; this machine sees names and bytes, and writes none of them but the package
databases that the bill of materials needs.
"""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.base.progress import Progress, nothing
from pipeline.host.guestfs import contents, manifest, mounting, roots, tar_stream
from pipeline.host.guestfs.installed_packages import InstalledPackage
from pipeline.signing.scan import registry
from pipeline.signing.scan.files import FileScan
from pipeline.signing.scan.findings import ScanFinding, digest
from pipeline.signing.scan.needles import Needle

_BLOCK = 1 << 20
# The databases that ``host.software`` reads; the largest RPM databases have some 300 MiB.
_KEPT = (
    "/var/lib/dpkg/status",
    "/var/lib/dpkg/status.d/",
    "/lib/apk/db/installed",
    "/usr/lib/apk/db/installed",
    "/usr/lib/sysimage/rpm/",
    "/var/lib/rpm/",
)
_MAX_KEPT = 512 << 20
_NO_FILES = ("swap", "", "unknown", "crypto_LUKS")


@dataclass
class FilesystemScan:
    """What was seen on the way through all files.

    ``known`` are digests of everything their contents matched; ``listed`` tells each file of a Linux system by what
    identifies it (``contents.identity``).
    """

    findings: list[ScanFinding] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    files: int = 0
    bytes: int = 0
    filesystems: list[str] = field(default_factory=list)
    not_covered: list[str] = field(default_factory=list)
    programs: list[InstalledPackage] = field(default_factory=list)
    listed: dict[str, str] = field(default_factory=dict)


class KeptFiles:
    """The guest's package databases, copied out: the ``GuestFiles`` that ``host.software`` reads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: dict[str, Path] = {}
        self._size = 0

    def wants(self, path: str) -> bool:
        """Return whether a file of the guest is one of them."""
        return any(path == kept or (kept.endswith("/") and path.startswith(kept)) for kept in _KEPT)

    def add(self, path: str, data: bytes) -> None:
        """Keep more bytes of a file."""
        self._size += len(data)
        if self._size > _MAX_KEPT:
            raise PipelineError(f"the image's package databases are larger than {_MAX_KEPT >> 20} MiB")
        # Numbers, not the guest's names: those may be anything.
        target = self._paths.setdefault(path, self._folder / f"kept-{len(self._paths)}")
        with target.open("ab") as file:
            file.write(data)

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes."""
        kept = self._paths.get(path)
        return kept.read_bytes() if kept else None

    def names(self, folder: str) -> Sequence[str]:
        """Return the names in a folder."""
        return [posixpath.basename(path) for path in self._paths if posixpath.dirname(path) == folder]


def walk(
    handle: Any,
    scratch: Path,
    needles: Sequence[Needle],
    kept: KeptFiles,
    *,
    expected_keys: frozenset[str] = frozenset(),
    root: str | None = None,
    progress: Progress = nothing,
) -> FilesystemScan:
    """Scan every file of every file system of an appliance launched with ``scratch``; nothing may be mounted.

    ``root`` is that of the system, where there are several on the disk.
    """
    seen = FilesystemScan()
    walker = _Walker(scratch, seen, needles, kept, expected_keys, progress)
    systems = dict(handle.list_filesystems())
    mounted: set[str] = set()
    found = roots.candidates(handle, root)
    for root in found:
        if places := _mount_system(handle, root, seen):
            mounted.update(places.values())
            # A second system's paths are its own.
            first = root == found[0]
            walker.read(handle, "" if first else f"{root}:", listing=first and handle.inspect_get_type(root) == "linux")
        handle.umount_all()
    for device, kind in sorted(systems.items()):
        if device not in mounted and kind not in _NO_FILES and _mount(handle, device, "/", seen):
            # A data disk, an EFI partition that the system doesn't mount, or a snapshot; its paths are its own.
            walker.read(handle, f"{device}:" if found or len(systems) > 1 else "")
            handle.umount_all()
            mounted.add(device)
    seen.filesystems = [f"{device} {systems.get(device, '')}".strip() for device in sorted(mounted)]
    seen.not_covered += [
        f"{device}: {kind or 'no known content'}"
        for device, kind in sorted(systems.items())
        if device not in mounted and kind != "swap"
    ]
    return seen


def _mount_system(handle: Any, root: str, seen: FilesystemScan) -> Mapping[str, str]:
    """Mount a system as it mounts itself; where a part of it is missing, not at all: then each is read by itself."""
    try:
        # What is passed over is not on the disk, or is told when it is read by itself.
        return mounting.mount_all(handle, root, lambda text: None, read_only=True)
    except PipelineError as error:
        seen.not_covered.append(error.message)
        return {}


def _mount(handle: Any, device: str, location: str, seen: FilesystemScan) -> bool:
    try:
        handle.mount_ro(device, location)
    except RuntimeError as error:
        seen.not_covered.append(f"{device}: cannot be mounted: {str(error).splitlines()[0]}")
        return False
    return True


class _Walker:
    def __init__(
        self,
        scratch: Path,
        seen: FilesystemScan,
        needles: Sequence[Needle],
        kept: KeptFiles,
        expected_keys: frozenset[str],
        progress: Progress,
    ) -> None:
        self.scratch = scratch
        self.seen = seen
        self.needles = needles
        self.kept = kept
        self.expected_keys = expected_keys
        self.progress = progress

    def read(self, handle: Any, prefix: str, *, listing: bool = False) -> None:
        """Scan everything that is mounted."""
        hives = registry.read(handle, prefix)
        self.seen.findings += hives.findings
        self.seen.programs += hives.programs
        self.seen.not_covered += hives.not_covered
        with tar_stream.opened(handle, self.scratch) as archive:
            for member in tar_stream.members(archive):
                content = self._file(archive, member, prefix) if member.isfile() else ""
                if listing and not member.isdir():
                    node = manifest.node(member, content)
                    self.seen.listed[node.path] = contents.identity(node)

    def _file(self, archive: tarfile.TarFile, member: tarfile.TarInfo, prefix: str) -> str:
        inside = "/" + member.name.removeprefix("./").lstrip("/")
        path = inside.encode(errors="surrogateescape").decode(errors="replace")
        scan = FileScan(path, self.needles, self.expected_keys, file_system=prefix)
        source = archive.extractfile(member)
        while source is not None and (block := source.read(_BLOCK)):
            scan.feed(block)
            if not prefix and self.kept.wants(inside):
                self.kept.add(inside, block)
        self.seen.findings += scan.finish()
        self.seen.known |= {digest(hit.text) for hit in scan.hits}
        self.seen.not_covered += scan.not_covered
        self.seen.files += 1
        self.seen.bytes += member.size
        self.progress.advance(self.seen.files, None, "files")
        return scan.sha256
