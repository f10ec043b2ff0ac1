"""Open the operating system in a disk image: find out what it is, and work in it in small ways.

What libguestfs reports comes from the image and is as hostile as that: it is data here, never a command.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs import installed_packages

_SCRIPT = "/tmp/.build-script"  # noqa: S108 - in the guest
_AGENTS = (
    "/usr/bin/qemu-ga",
    "/usr/sbin/qemu-ga",
    "/usr/local/bin/qemu-ga",
    "/Program Files/Qemu-ga/qemu-ga.exe",
)


@dataclass(frozen=True)
class GuestIdentity:
    """What libguestfs found. Unknown texts are empty, an unknown version is ``None``."""

    type: str
    distro: str
    product: str
    major: int | None
    minor: int | None
    architecture: str
    package_format: str
    package_tool: str
    mounts: Mapping[str, str]


class GuestFiles:
    """The mounted file systems of an appliance, and small ways of working in them. ``log`` gets what commands print."""

    def __init__(self, handle: Any, log: IO[bytes]) -> None:
        self.handle = handle
        self.log = log

    def exists(self, path: str) -> bool:
        """Return whether there is anything at ``path``, also a link that leads nowhere."""
        return bool(self.handle.exists(path) or self.handle.is_symlink(path))

    def glob(self, pattern: str) -> list[str]:
        """Return the paths that match a shell pattern (with ``/`` behind folders if the pattern ends so)."""
        return [str(path) for path in self.handle.glob_expand(pattern, directoryslash=pattern.endswith("/"))]

    def read(self, path: str) -> str:
        """Return a small text file; empty when there is none."""
        if not self.handle.is_file(path, followsymlinks=True):
            return ""
        data: bytes = self.handle.read_file(path)
        return data.decode(errors="surrogateescape")

    def write(self, path: str, content: str | bytes, *, mode: int | None = None) -> None:
        """Write a file; one that is there keeps its mode and owner unless ``mode`` is given."""
        self.handle.mkdir_p(str(PurePosixPath(path).parent))
        data = content.encode(errors="surrogateescape") if isinstance(content, str) else content
        # Larger ones would not fit into a message of the appliance's protocol (4 MiB).
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(data)
            self.handle.upload(file.name, path)
        if mode is not None:
            self.handle.chmod(mode, path)

    def replace_line(self, path: str, pattern: str, line: str) -> None:
        """Replace the lines of a text file that match ``pattern`` by ``line``, which is added if there are none."""
        lines = self.read(path).splitlines()
        rest = [each for each in lines if not re.match(pattern, each)]
        location = next((index for index, each in enumerate(lines) if re.match(pattern, each)), len(rest))
        self.write(path, "".join(f"{each}\n" for each in [*rest[:location], line, *rest[location:]]))

    def run(self, script: str, what: str) -> str:
        """Run a shell script in the guest's root; return what it printed.

        Raises ``PipelineError`` when it fails, with its last words.
        """
        self.log.write(f"$ {script}\n".encode(errors="replace"))
        self.write(_SCRIPT, f"set -eu\n{script}\n")
        try:
            # libguestfs would drop the output of a failed one.
            said = str(self.handle.sh(f"/bin/sh {_SCRIPT} 2>&1; status=$?; echo; echo $status"))
        finally:
            # An appliance that has died has its own error, which this one must not hide.
            with contextlib.suppress(RuntimeError):
                self.handle.rm_f(_SCRIPT)
        output, _, status = said.rstrip("\n").rpartition("\n")
        self.log.write(output.encode(errors="replace"))
        if status != "0":
            lines = [line for line in output.splitlines() if line.strip()]
            raise PipelineError(f"{what} failed in the guest with status {status}", details=lines[-20:])
        return output

    def has_command(self, name: str) -> bool:
        """Return whether the guest has the program ``name``."""
        return any(self.exists(f"{folder}/{name}") for folder in ("/usr/sbin", "/usr/bin", "/sbin", "/bin"))

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files and whole folders."""
        for path in paths:
            self.handle.rm_rf(path)

    def all_files(self) -> list[str]:
        """Return every path in the guest, absolute, unsorted."""
        with tempfile.NamedTemporaryFile() as file:
            self.handle.find0("/", file.name)
            listing = Path(file.name).read_bytes()
        return [f"/{path.decode(errors='surrogateescape')}" for path in listing.split(b"\0") if path]


class GuestSystem(GuestFiles):
    """The one operating system on the appliance's disk, its file systems mounted."""

    def __init__(self, handle: Any, identity: GuestIdentity, root: str, log: IO[bytes]) -> None:
        super().__init__(handle, log)
        self.identity = identity
        self._root = root

    @classmethod
    def open(cls, handle: Any, log: IO[bytes]) -> GuestSystem:
        """Find and mount it. Raises ``PipelineError`` unless there is exactly one."""
        roots = handle.inspect_os()
        if len(roots) != 1:
            found = "no operating system" if not roots else f"{len(roots)} operating systems ({', '.join(roots)})"
            raise PipelineError(f"libguestfs found {found} on the disk", hint="the installation did not end well")
        root = roots[0]
        mounts = mount_all(handle, root, log)
        major, minor = handle.inspect_get_major_version(root), handle.inspect_get_minor_version(root)
        identity = GuestIdentity(
            type=_known(handle.inspect_get_type(root)),
            distro=_known(handle.inspect_get_distro(root)),
            product=_known(handle.inspect_get_product_name(root)),
            major=None if major == 0 and minor == 0 else major,
            minor=None if major == 0 and minor == 0 else minor,
            architecture=_known(handle.inspect_get_arch(root)),
            package_format=_known(handle.inspect_get_package_format(root)),
            package_tool=_known(handle.inspect_get_package_management(root)),
            mounts=mounts,
        )
        return cls(handle, identity, root, log)

    @classmethod
    def known(cls, handle: Any, identity: GuestIdentity, log: IO[bytes]) -> GuestSystem:
        """Mount the one that was inspected before: that takes an emulated appliance ten seconds each time."""
        for location in sorted(identity.mounts, key=len):
            handle.mount(identity.mounts[location], location)
        return cls(handle, identity, "", log)

    def packages(self) -> dict[str, str] | None:
        """Return installed packages and their versions, or ``None`` when they cannot be read."""
        if self.identity.type == "linux" and not self.identity.package_format:
            return None
        if not self._root:
            return {each.name: _whole_version(each) for each in installed_packages.installed(_Databases(self))}
        try:
            found = self.handle.inspect_list_applications2(self._root)
        except RuntimeError as error:
            self.log.write(f"the list of packages cannot be read: {error}\n".encode())
            return None
        return {each["app2_name"]: _version(each) for each in found}

    def has_guest_agent(self) -> bool:
        """Return whether the program of QEMU's guest agent is there."""
        return any(self.exists(path) for path in _AGENTS)

    def kernels(self) -> list[str]:
        """Return the versions of the kernels whose modules are there."""
        folders = self.glob("/lib/modules/*/")
        return sorted(PurePosixPath(folder).name for folder in folders)

    def first_sectors(self) -> bytes:
        """Return the boot code in the first sector of the first disk, without the partition table."""
        with contextlib.suppress(RuntimeError):
            return bytes(self.handle.pread_device(self.handle.list_devices()[0], 440, 0))
        return b""


class _Databases:
    """A guest's package databases, as ``software`` reads them."""

    def __init__(self, guest: GuestFiles) -> None:
        self._guest = guest

    def read(self, path: str) -> bytes | None:
        """A file's bytes; it may be larger than a message of the appliance."""
        if not self._guest.handle.is_file(path):
            return None
        with tempfile.NamedTemporaryFile() as file:
            self._guest.handle.download(path, file.name)
            return Path(file.name).read_bytes()

    def names(self, folder: str) -> list[str]:
        """The names in a folder."""
        return list(self._guest.handle.ls(folder)) if self._guest.handle.is_dir(folder) else []


def mount_all(handle: Any, root: str, log: IO[bytes]) -> dict[str, str]:
    """Mount the file systems of an inspected system as its fstab(5) has them; return mount point → device.

    One whose mount point is not there is passed over with a line in ``log``: the system itself could not mount it.
    """
    mounts: dict[str, str] = {}
    for location, device in sorted(handle.inspect_get_mountpoints(root).items(), key=lambda item: len(item[0])):
        _mount(handle, location, device, mounts, log)
    table = handle.read_file("/etc/fstab") if handle.is_file("/etc/fstab", followsymlinks=True) else b""
    named = {location: name for location, name in named_by_partition(table).items() if location not in mounts}
    devices = {handle.blkid(device).get("PART_ENTRY_UUID"): device for device in handle.list_partitions() if named}
    for location in sorted(named, key=len):
        if named[location] in devices:
            _mount(handle, location, devices[named[location]], mounts, log)
    return mounts


def _mount(handle: Any, location: str, device: str, mounts: dict[str, str], log: IO[bytes]) -> None:
    if location != "/" and not handle.is_dir(location, followsymlinks=True):
        log.write(f"{device} is not mounted: there is no folder {location}\n".encode(errors="replace"))
        return
    handle.mount(device, location)
    mounts[location] = device


def named_by_partition(table: bytes) -> dict[str, str]:
    """Mount point → partition of what an fstab(5) names by PARTUUID, as Debian's do. libguestfs passes over it."""
    rows = [line.split() for line in table.decode(errors="replace").splitlines()]
    return {
        row[1]: row[0].removeprefix("PARTUUID=").strip('"').lower()
        for row in rows
        if len(row) > 2 and row[0].startswith("PARTUUID=") and row[1].startswith("/") and row[2] != "swap"
    }


def _known(text: str) -> str:
    return "" if text == "unknown" else text


def _whole_version(package: installed_packages.InstalledPackage) -> str:
    return f"{package.epoch}:{package.version}" if package.epoch else package.version


def _version(application: Mapping[str, Any]) -> str:
    release = application.get("app2_release")
    epoch = application.get("app2_epoch")
    version = f"{application['app2_version']}{f'-{release}' if release else ''}"
    return f"{epoch}:{version}" if epoch else version
