"""Find what a cloud starts a disk with instead of the disk's own boot loader: its newest kernel, that kernel's
ramdisk, and where on the disk the root file system is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs.guest_system import GuestSystem

_RAMDISKS = ("/boot/initrd.img-{}", "/boot/initramfs-{}.img", "/boot/initrd-{}")
# Guests with one kernel need no version in its name.
_PLAIN = ("/boot/initrd.gz", "/boot/initrd.img", "/boot/initrd", "/boot/initramfs.img")


@dataclass(frozen=True)
class BootParts:
    """Paths in the guest, and the root file system: its UUID, and where it lies (offset and size in bytes)."""

    kernel: str
    ramdisk: str
    root_uuid: str
    root: tuple[int, int]

    def save(self, system: GuestSystem, kernel: Path | None, ramdisk: Path | None) -> None:
        """Copy the files out of the guest."""
        for inside, outside in ((self.kernel, kernel), (self.ramdisk, ramdisk)):
            if outside is not None:
                system.handle.download(inside, str(outside))


def command_line(root: str) -> str:
    """Return what Nova's libvirt driver gives a kernel that it starts itself, with another root than its own."""
    return f"root={root} console=tty0 console=ttyS0 no_timer_check"


def find(system: GuestSystem) -> BootParts:
    """Return the parts of the guest that is open. Raises ``PipelineError`` when it has none that a cloud could use."""
    kernel, ramdisk = _files(system)
    device = str(system.identity.mounts.get("/", ""))
    return BootParts(kernel, ramdisk, str(system.handle.vfs_uuid(device)), _place(system, device))


def _files(system: GuestSystem) -> tuple[str, str]:
    for version in sorted(system.kernels(), key=_natural, reverse=True):
        kernel = f"/boot/vmlinuz-{version}"
        ramdisks = [name for pattern in _RAMDISKS if system.exists(name := pattern.format(version))]
        if system.exists(kernel) and ramdisks:
            return kernel, ramdisks[0]
    ramdisks = [name for name in _PLAIN if system.exists(name)]
    if system.exists("/boot/vmlinuz") and ramdisks:
        return "/boot/vmlinuz", ramdisks[0]
    raise PipelineError(
        "the image has no kernel with its ramdisk in /boot, which aki and ari are made of",
        hint="leave aki, ari and ami out of the products",
    )


def _place(system: GuestSystem, device: str) -> tuple[int, int]:
    handle = system.handle
    if device in handle.list_devices():
        return 0, int(handle.blockdev_getsize64(device))
    if device not in handle.list_partitions():
        raise PipelineError(
            f"the root file system is on {device or 'nothing'}, not on a partition: it cannot be taken out as ami",
            hint="leave ami out of the products",
        )
    number = handle.part_to_partnum(device)
    entry = next(each for each in handle.part_list(handle.part_to_dev(device)) if each["part_num"] == number)
    return int(entry["part_start"]), int(entry["part_size"])


def _natural(version: str) -> list[tuple[int, str]]:
    """Numbers as numbers: 6.10 comes after 6.9."""
    return [(int(word), "") if word.isdigit() else (-1, word) for word in re.findall(r"\d+|\D+", version)]
