"""Overwrite what deleted files left in the free space of a disk image's file systems, offline.

Trimming is not enough: it frees whole clusters of the image file only, and small deleted files stay readable next to
live ones. So every file system is scrubbed by a method that was seen to leave nothing:

- ext2, ext3, ext4: its free extents as ``dumpe2fs`` lists them, overwritten one by one without being read; zerofree(8),
  which reads every free block, where the list is not what the superblock counts
- XFS: likewise, as ``xfs_db`` lists them (filling the file system with a file does not reach the blocks it keeps for
  itself)
- NTFS: ntfswipe(8): free clusters, tails of files, free records of the master file table, indexes, log
- FAT: filling it with a file of zeros (it keeps no blocks for itself)
- btrfs: what no extent of its extent tree takes, in all copies (see ``btrfs_space``)
- swap: made anew, with its label and UUID
- the free space of LVM's volume groups: a volume is made of it, and overwritten

What else may hold deleted files fails the build. Not covered: partitions without a known content (they are named in
the result), tails of files in FAT clusters above 4 KiB, and on btrfs what was overwritten in the midst of an extent
that is still in use.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.base.progress import Progress, nothing
from pipeline.host.guestfs import appliance_shell, btrfs_space, mountable
from pipeline.host.guestfs.appliance import own_name

NOT_COVERED = "not covered"
# Commands in a message. Each message costs a wait for udev, and libguestfs's own way to write to a device one a piece.
_AT_ONCE = 1000
# Without deleted files of their own: nothing, what other layers are made of, and what is only ever read.
_NO_FREE_SPACE = ("", "unknown", "LVM2_member", "linux_raid_member", "squashfs", "erofs", "iso9660")
_EXT_FREE = re.compile(r"(?m)^  Free blocks: ([\d, -]+)$")
_XFS_FIELD = re.compile(r"(?m)^(\w+) = (\d+)$")
_XFS_EXTENT = re.compile(r"(?m)^\s*(\d+)\s+(\d+)\s+(\d+)\s*$")
_SCRATCH = "build-scrub"
_GONE = "No such file or directory"
_ATTEMPTS = 30
_PAUSE = 1.0  # seconds
# No RPC message of libguestfs is longer than 4 MiB; a list of extents near that is cut, which must not go unseen.
_MAX_LIST = 3 << 20
# Some 15,000 free extents. A process for each of more would take longer than to read every block, as zerofree does.
_MAX_EXT_LIST = 256 << 10


def scrub(handle: Any, systems: Mapping[str, str], *, progress: Progress = nothing) -> dict[str, str]:
    """Scrub the file systems of a launched appliance (device → kind, as libguestfs lists them); return device → method.

    Nothing may be mounted. Raises ``PipelineError`` when a method fails: then the image is not clean.
    """
    # What reads the bare devices must not be answered from pages that were cached while they were mounted.
    handle.sync()
    handle.drop_caches(3)
    done = {}
    for device, kind in sorted(_by_device(handle, systems).items()):
        progress.say(f"scrubbing the free space of {device} ({kind})")
        done[device] = _scrub_steadily(handle, device, kind)
    done |= _scrub_volume_groups(handle)
    return done


def _by_device(handle: Any, systems: Mapping[str, str]) -> dict[str, str]:
    """Leave the subvolumes of a btrfs out (``btrfsvol:/dev/sda2/@/home``): they share their device's free space.

    libguestfs lists the device as well. In the names of subvolumes it may use what the kernel calls the drive, which is
    not always what its calls take.
    """
    devices = {device: kind for device, kind in systems.items() if not device.startswith("btrfsvol:")}
    if "btrfs" in devices.values():
        return devices
    return {mountable.device(handle, name): kind for name, kind in systems.items()}


def _scrub_volume_groups(handle: Any) -> dict[str, str]:
    done = {}
    for line in _shell(handle, "lvm vgs --noheadings -o vg_name,vg_free_count 2>/dev/null || true").splitlines():
        group, free = line.split()
        if free != "0":
            volume = shlex.quote(f"{group}/{_SCRATCH}")
            make = f"lvm lvcreate -q -y -W n -Z n -l 100%FREE -n {_SCRATCH} {shlex.quote(group)}"
            _shell(handle, f"{{ {make}; blkdiscard -z /dev/{volume}; lvm lvremove -q -y {volume}; }} >/dev/null")
            done[group] = f"{free} free extents"
    return done


def _scrub_steadily(handle: Any, device: str, kind: str) -> str:
    """Scrub one file system, from its start again when its node is gone: each method may be repeated.

    Whoever closes a disk after writing makes udev read its partition table again; until then there are no nodes, and on
    a busy machine that may come long after udev said that it had settled.
    """
    for _ in range(_ATTEMPTS):
        try:
            return _scrub_one(handle, device, kind)
        except RuntimeError as error:
            if _GONE not in str(error):
                raise
        time.sleep(_PAUSE)
    raise PipelineError(
        f"{device} does not stay where it is, so that it cannot be scrubbed", hint="run the build again"
    )


def _scrub_one(handle: Any, device: str, kind: str) -> str:
    match kind:
        case "ext2" | "ext3" | "ext4":
            return _scrub_ext(handle, device)
        case "xfs":
            return f"{_scrub_xfs(handle, device)} free extents"
        case "ntfs":
            _shell(handle, f"ntfswipe -q -a -f {shlex.quote(own_name(device))}")
            return "ntfswipe"
        case "vfat" | "msdos":
            _fill(handle, device)
            return "filled"
        case "swap":
            _renew_swap(handle, device)
            return "made anew"
        case "btrfs":
            return f"{_scrub_btrfs(handle, device)} free extents"
    if kind in _NO_FREE_SPACE:
        return NOT_COVERED
    raise PipelineError(
        f"the free space of {device} cannot be scrubbed: no method is known for {kind}",
        hint="set sysprep.scrub: false, or make the image on another file system",
    )


def _scrub_btrfs(handle: Any, device: str) -> int:
    name = shlex.quote(own_name(device))
    # Of deleted subvolumes, the kernel frees what they had later; until then it is in use.
    settle = "d=/run/scrub; mkdir -p $d; mount -t btrfs {0} $d; btrfs subvolume sync $d >/dev/null; sync; umount $d"
    _shell(handle, settle.format(name))
    inspect = f"btrfs inspect-internal dump-%s {name}"
    keys = "grep -o 'key ([0-9]* [EM][A-Z]*_ITEM [0-9]*)'"
    texts = [
        appliance_shell.read(handle, command).decode(errors="replace")
        for command in (inspect % "super", inspect % "tree -t chunk", f"{inspect % 'tree -t extent'} | {keys}")
    ]
    try:
        pieces = btrfs_space.free(texts[0], texts[1], texts[2], int(handle.blockdev_getsize64(device)))
    except PipelineError as error:
        raise PipelineError(
            f"the free space of {device} cannot be scrubbed: {error.message}", hint=error.hint
        ) from error
    _overwrite(handle, device, pieces)
    return len(pieces)


def _scrub_ext(handle: Any, device: str) -> str:
    fields = handle.tune2fs_l(device)
    free = f"dumpe2fs {shlex.quote(own_name(device))} 2>/dev/null | grep '^  Free blocks: ' | head -c {_MAX_EXT_LIST}"
    listed = _shell(handle, free)
    extents = [
        (int(first), int(last or first) + 1 - int(first))
        for line in _EXT_FREE.findall(listed)
        for first, _, last in (piece.partition("-") for piece in line.split(", "))
    ]
    # With clusters of blocks, a journal that was not played back or a list that was cut, the two are not the same.
    counted = sum(length for _, length in extents)
    if "needs_recovery" in fields["Filesystem features"] or counted != int(fields["Free blocks"]):
        handle.zerofree(device)
        return "zerofree"
    block = int(fields["Block size"])
    _overwrite(handle, device, [(start * block, length * block) for start, length in extents])
    return f"{len(extents)} free extents"


def _scrub_xfs(handle: Any, device: str) -> int:
    quoted = shlex.quote(own_name(device))
    fields = {
        name: int(value) for name, value in _XFS_FIELD.findall(_shell(handle, f"xfs_db -r -c 'sb 0' -c p {quoted}"))
    }
    listed = _shell(handle, f"xfs_db -r -c 'freesp -d' {quoted} | sed '/from/,$d'")
    if len(listed) > _MAX_LIST:
        raise PipelineError(
            f"the free space of {device} is in too many pieces to scrub", hint="give the recipe a larger disk"
        )
    extents = [(int(number), int(start), int(length)) for number, start, length in _XFS_EXTENT.findall(listed)]
    # xfs_db ends with 0 whatever happens; but what it lists must be what the superblock counts, less a few tree blocks.
    if (
        not fields.get("blocksize")
        or sum(extent[2] for extent in extents) < fields["fdblocks"] - 64 * fields["agcount"]
    ):
        raise PipelineError(
            f"the free space of the XFS file system on {device} cannot be listed", hint="check it: xfs_repair -n"
        )
    block, group = fields["blocksize"], fields["agblocks"]
    _overwrite(
        handle, device, [((number * group + start) * block, length * block) for number, start, length in extents]
    )
    return len(extents)


def _overwrite(handle: Any, device: str, pieces: Sequence[tuple[int, int]]) -> None:
    """Make pieces of the bare device zeros, by the kernel; each is its first byte and its length."""
    name = shlex.quote(own_name(device))
    commands = [f"blkdiscard -z -o {at} -l {length} {name}" for at, length in pieces]
    for at in range(0, len(commands), _AT_ONCE):
        _shell(handle, "; ".join(commands[at : at + _AT_ONCE]))


def _fill(handle: Any, device: str) -> None:
    handle.mount(device, "/")
    try:
        handle.zero_free_space("/")
    finally:
        handle.umount("/")


def _renew_swap(handle: Any, device: str) -> None:
    label, identity = handle.vfs_label(device), handle.vfs_uuid(device)
    handle.zero_device(device)
    options = {"label": label} if label else {}
    handle.mkswap(device, uuid=identity, **options)


def _shell(handle: Any, command: str) -> str:
    """Run a command of the appliance itself, on the bare disk; nothing of the guest is executed."""
    return str(handle.debug("sh", [f"udevadm settle; set -e; {command}"]))
