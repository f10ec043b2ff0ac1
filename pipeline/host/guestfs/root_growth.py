"""Let the root file system of a guest take the room that its disk has: partition, LVM's volumes, file system.

Images come with a root that is as small as its files; recipes give them a larger disk (``disk.size``), which a guest
fills at its first start. What is installed offline comes before that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs import guest_space, mountable
from pipeline.host.guestfs.guest_space import FileSystemSpace
from pipeline.host.guestfs.guest_system import GuestSystem

_EXT = ("ext2", "ext3", "ext4")
_MIB = 1 << 20
# What a file system may take for itself and does not count as its size: XFS's log has 64 MiB and more.
_TABLES = 128 * _MIB
# Not worth a change of the disk's layout.
_LEAST = 16 * _MIB
# The second copy of a GPT lies at the end of the disk; partitions end at whole mebibytes.
_TAIL = _MIB
_SECTOR = 512
# Those of an MBR's own table; others lie in an extended partition, which would have to grow with them.
_PRIMARY = 4
# Its numbers of sectors have 32 bits.
_MBR_END = _SECTOR << 32


@dataclass(frozen=True)
class _Layers:
    """What the root lies on: its device, the kind of its file system, and the partition at the bottom, if any."""

    device: str
    kind: str
    partition: str | None
    volume: bool


def make_room(system: GuestSystem, least: int) -> bool:
    """Grow the root where less than ``least`` bytes are free and the disk has more; return whether it was grown.

    Raises ``PipelineError`` with the sizes where the root is full and cannot be grown.
    """
    handle, mounts = system.handle, system.identity.mounts
    before = _space(handle)
    if "/" not in mounts or before is None or before.free >= least:
        return False
    layers = _layers(handle, mounts["/"])
    gain = _gain(handle, layers, before)
    if gain < _LEAST:
        if before.is_full:
            raise _too_small(handle, layers, before)
        return False
    handle.umount_all()
    _grow_below(handle, layers)
    _grow_ext(handle, layers)
    for location in sorted(mounts, key=len):
        handle.mount(mounts[location], location)
    if layers.kind == "xfs":
        handle.xfs_growfs("/")
    elif layers.kind == "btrfs":
        handle.btrfs_filesystem_resize("/")
    after = _space(handle) or before
    if before.is_full and after.size <= before.size:
        raise _too_small(handle, layers, before)
    system.note(
        f"the root file system had {before.free // _MIB} MiB free; it was grown from {before.size // _MIB} to "
        f"{after.size // _MIB} MiB, as the disk has room"
    )
    return True


def _space(handle: Any) -> FileSystemSpace | None:
    return next((space for space in guest_space.mounted(handle) if space.location == "/"), None)


def _layers(handle: Any, root: str) -> _Layers:
    device = mountable.device(handle, root)
    kind, volume = str(handle.vfs_type(device)), device in handle.lvs()
    # Of a group on several, what is free in it can be taken, but no partition is enlarged.
    below = (handle.pvs() if len(handle.pvs()) == 1 else []) if volume else [device]
    partitions = set(handle.list_partitions())
    return _Layers(device, kind, next((each for each in below if each in partitions), None), volume)


def _gain(handle: Any, layers: _Layers, space: FileSystemSpace) -> int:
    """By how many bytes the file system could grow."""
    if layers.kind not in (*_EXT, "xfs", "btrfs"):
        return 0
    unused = int(handle.blockdev_getsize64(layers.device)) - space.size
    found = unused if unused > max(_TABLES, space.size // 8) else 0
    if layers.partition is not None:
        found += _behind(handle, layers.partition)
    if layers.volume:
        found += int(_group(handle, layers)["vg_free"])
    return found


def _group(handle: Any, layers: _Layers) -> Mapping[str, Any]:
    """Return what LVM says of the group of the root's volume; there may be others."""
    name = layers.device.split("/")[2]
    return next(each for each in handle.vgs_full() if each["vg_name"] == name)


def _behind(handle: Any, partition: str) -> int:
    """How many bytes lie unused behind a partition."""
    disk, number = handle.part_to_dev(partition), handle.part_to_partnum(partition)
    is_mbr = handle.part_get_parttype(disk) == "msdos"
    if is_mbr and number > _PRIMARY:
        return 0
    parts = handle.part_list(disk)
    own = next(each for each in parts if each["part_num"] == number)
    starts = [int(each["part_start"]) for each in parts if each["part_start"] > own["part_end"]]
    ends = [int(handle.blockdev_getsize64(disk)) - _TAIL, *([_MBR_END - _TAIL] if is_mbr else [])]
    end = min([*starts, *ends]) // _MIB * _MIB
    return max(0, end - int(own["part_end"]) - 1)


def _grow_below(handle: Any, layers: _Layers) -> None:
    """Enlarge the partition and the volume, with nothing in use."""
    handle.vg_activate_all(False)
    more = _behind(handle, layers.partition) if layers.partition is not None else 0
    if layers.partition is not None and more >= _LEAST:
        disk, number = handle.part_to_dev(layers.partition), handle.part_to_partnum(layers.partition)
        own = next(each for each in handle.part_list(disk) if each["part_num"] == number)
        if handle.part_get_parttype(disk) == "gpt":
            handle.part_expand_gpt(disk)
        handle.part_resize(disk, number, (int(own["part_end"]) + 1 + more) // _SECTOR - 1)
        if layers.volume:
            handle.pvresize(layers.partition)
    handle.vg_activate_all(True)
    if layers.volume and int(_group(handle, layers)["vg_free_count"]):
        handle.lvresize_free(layers.device, 100)


def _grow_ext(handle: Any, layers: _Layers) -> None:
    if layers.kind in _EXT:
        handle.e2fsck(layers.device, correct=True)
        handle.resize2fs(layers.device)


def _too_small(handle: Any, layers: _Layers, space: FileSystemSpace) -> PipelineError:
    disks = sum(int(handle.blockdev_getsize64(disk)) for disk in handle.list_devices())
    return PipelineError(
        f"the root file system on {layers.device} ({layers.kind}) is full before anything is changed: "
        f"{space.free >> 10} KiB of {space.size // _MIB} MiB are free, and it cannot grow: the disk has "
        f"{disks // _MIB} MiB, and next to nothing of it lies behind the root",
        hint="raise disk.size, if the root is the last partition or on LVM; else enlarge it in the image itself",
    )
