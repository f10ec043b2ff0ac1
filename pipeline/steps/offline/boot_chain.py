"""Digest the boot chain: all that a firmware loads from a disk until the kernel runs with its ramdisk.

It is boot sectors and partition table, partitions without a file system (GRUB's on GPT), and the files of ``/boot`` and
of every FAT file system, where EFI loaders lie. Where these may not be all, there is no digest, and so nothing is said.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.host.guestfs.guest_system import GuestSystem

# Before the first partition: the partition table, and boot loaders that an MBR disk has behind its first sector.
_HEAD = 1 << 20
_SECTOR = 512
# Larger ones are data of something we do not know.
_LARGEST_BARE = 64 << 20
_BARE = ("", "unknown")
_FAT = ("vfat", "msdos")
# Nothing can be booted from their first sector: it is their own, and counters in it change, or it is not used.
_WITHOUT_BOOT_SECTOR = ("xfs", "btrfs", "swap")


def digest(system: GuestSystem, kinds: Mapping[str, str]) -> str | None:
    """Return the SHA-256 of the boot chain of the system that is open; ``None`` where it cannot be told.

    ``kinds``: the disk's file systems, device → kind.
    """
    mounts = system.identity.mounts
    folders = _outermost(["/boot", *(location for location, device in mounts.items() if kinds.get(device) in _FAT)])
    if system.identity.type != "linux" or not _knows(system, kinds, folders):
        return None
    parts = {
        "sectors": dict(_sectors(system.handle, kinds)),
        "files": {location: _files(system.handle, location) for location in folders},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _knows(system: GuestSystem, kinds: Mapping[str, str], folders: Sequence[str]) -> bool:
    """Whether the system has one disk with partitions, and nothing on it that we would not read."""
    handle, mounted = system.handle, set(system.identity.mounts.values())
    partitions = set(handle.list_partitions())
    return (
        len(handle.list_devices()) == 1
        and bool(partitions)
        # A link could lead out of what is mounted.
        and all(handle.is_dir(location) and handle.realpath(location) == location for location in folders)
        and all(device in mounted for device, kind in kinds.items() if kind in _FAT)
        and all(
            handle.blockdev_getsize64(device) <= _LARGEST_BARE
            for device in partitions
            if kinds.get(device, "") in _BARE
        )
    )


def _sectors(handle: Any, kinds: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    (disk,) = handle.list_devices()
    yield disk, hashlib.sha256(handle.pread_device(disk, _HEAD, 0)).hexdigest()
    for device in handle.list_partitions():
        kind = kinds.get(device, "")
        if kind in _BARE:
            yield device, str(handle.checksum_device("sha256", device))
        elif kind not in _WITHOUT_BOOT_SECTOR:
            yield device, hashlib.sha256(handle.pread_device(device, _SECTOR, 0)).hexdigest()


def _files(handle: Any, location: str) -> str:
    """One digest of the files below a folder and of where links lead, by the appliance's own programs."""
    script = (
        f"set -e; cd {shlex.quote(f'/sysroot{location}')}; find . -type f -exec sha256sum {{}} + > /tmp/chain; "
        "find . -type l -printf '%p -> %l\\n' >> /tmp/chain; LC_ALL=C sort /tmp/chain | sha256sum; rm /tmp/chain"
    )
    return str(handle.debug("sh", [script])).split()[0]


def _outermost(places: list[str]) -> list[str]:
    """Without those that lie in another one: those are read with it."""
    return [location for location in sorted(set(places)) if not any(_is_in(location, other) for other in places)]


def _is_in(location: str, other: str) -> bool:
    return location != other and location.startswith(f"{other.rstrip('/')}/")
