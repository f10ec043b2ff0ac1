"""Open the operating system in a disk image: find out what it is.

What libguestfs reports comes from the image and is as hostile as that: it is data here, never a command.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs import installed_packages, mounting, roots
from pipeline.host.guestfs.guest_files import GuestFiles

# What is read here instead of by libguestfs: its texts would have to be UTF-8.
_OWN_READERS = ("deb", "rpm", "apk")
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


class GuestSystem(GuestFiles):
    """The one operating system on the appliance's disk, its file systems mounted."""

    def __init__(self, handle: Any, identity: GuestIdentity, root: str, log: IO[bytes]) -> None:
        super().__init__(handle, log)
        self.identity = identity
        self._root = root

    @classmethod
    def open(cls, handle: Any, log: IO[bytes], *, root: str | None = None) -> GuestSystem:
        """Find and mount it; of several, the one on ``root``. Raises ``PipelineError`` unless it is clear which."""
        root = roots.find(handle, root)
        notes: list[str] = []
        mounts = mounting.mount_all(handle, root, notes.append)
        major, minor = handle.inspect_get_major_version(root), handle.inspect_get_minor_version(root)
        identity = GuestIdentity(
            type=_known(lambda: handle.inspect_get_type(root)),
            distro=_known(lambda: handle.inspect_get_distro(root)),
            product=_known(lambda: handle.inspect_get_product_name(root)),
            major=None if major == 0 and minor == 0 else major,
            minor=None if major == 0 and minor == 0 else minor,
            architecture=_known(lambda: handle.inspect_get_arch(root)),
            package_format=_known(lambda: handle.inspect_get_package_format(root)),
            package_tool=_known(lambda: handle.inspect_get_package_management(root)),
            mounts=mounts,
        )
        system = cls(handle, identity, root, log)
        for text in notes:
            system.note(text)
        return system

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
        try:
            if not self._root or self.identity.package_format in _OWN_READERS:
                return {each.name: _whole_version(each) for each in installed_packages.installed(_Databases(self))}
            found = self.handle.inspect_list_applications2(self._root)
        except (RuntimeError, PipelineError, UnicodeDecodeError) as error:
            self.log.write(f"the list of packages cannot be read: {error}\n".encode(errors="replace"))
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
        """Return a file's bytes; it may be larger than a message of the appliance."""
        if not self._guest.handle.is_file(path):
            return None
        with tempfile.NamedTemporaryFile() as file:
            self._guest.handle.download(path, file.name)
            return Path(file.name).read_bytes()

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder."""
        return [PurePosixPath(path).name for path in self._guest.glob(f"{folder}/*")]


def _known(ask: Callable[[], str]) -> str:
    """Return what libguestfs knows; it hands on the bytes of the image, and Python's bindings take UTF-8 only."""
    try:
        text = ask()
    except UnicodeDecodeError as error:
        return bytes(error.object).decode(errors="replace")
    return "" if text == "unknown" else text


def _whole_version(package: installed_packages.InstalledPackage) -> str:
    return f"{package.epoch}:{package.version}" if package.epoch else package.version


def _version(application: Mapping[str, Any]) -> str:
    release = application.get("app2_release")
    epoch = application.get("app2_epoch")
    version = f"{application['app2_version']}{f'-{release}' if release else ''}"
    return f"{epoch}:{version}" if epoch else version
