"""Find the one operating system of a disk, and say why there is none, or which of several cannot be told apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.base.errors import PipelineError

_SUBVOLUME = re.compile(r"btrfsvol:(?P<device>/dev/(?:mapper/)?[^/]+)/(?P<path>.*)", re.DOTALL)
# Snapper's; the one that is the default subvolume is the system itself, as openSUSE is installed.
_SNAPSHOT = re.compile(r"(?:.*/)?\.snapshots/\d+/snapshot", re.DOTALL)
_WITH_FILES = ("ext2", "ext3", "ext4", "xfs", "btrfs")
_ONE = "an image holds one system: take the disks or partitions of the others away, or delete the snapshots"


def find(handle: Any) -> str:
    """Return the root that is to be worked on. Raises ``PipelineError`` unless it is clear which one that is."""
    arrays = [str(array) for array in handle.list_md_devices()]
    if arrays:
        raise PipelineError(
            f"the disk has software RAID ({', '.join(sorted(arrays))}), which an image of one disk is no place for",
            hint="install the system on plain partitions or LVM; a cloud's storage keeps the copies",
        )
    kept = candidates(handle)
    if not kept:
        raise _none(handle)
    if len(kept) != 1:
        details = [f"{root}: {_product(handle, root)}" for root in kept]
        raise PipelineError(f"there are {len(kept)} operating systems on the disk", details=details, hint=_ONE)
    return kept[0]


def candidates(handle: Any) -> list[str]:
    """Return the roots that may be the system, by looking into each file system; none where there is no system."""
    found = [str(root) for root in handle.inspect_os()]
    return choose(found, _defaults(handle, found))


def choose(found: Sequence[str], defaults: Mapping[str, str]) -> list[str]:
    """Return those of several roots that may be the system: not the snapshots of one.

    ``defaults`` are the devices' default subvolumes: what is mounted when nothing else is asked for.
    """
    kept = [root for root in found if _is_default(root, defaults) or not _is_snapshot(root)]
    preferred = [root for root in kept if _is_default(root, defaults)]
    same_disk = {_device(root) for root in kept}
    return preferred if len(preferred) == 1 and same_disk == {_device(preferred[0])} else kept


def _device(root: str) -> str:
    match = _SUBVOLUME.fullmatch(root)
    return match["device"] if match else root


def _is_default(root: str, defaults: Mapping[str, str]) -> bool:
    match = _SUBVOLUME.fullmatch(root)
    return match is not None and defaults.get(match["device"]) == match["path"]


def _is_snapshot(root: str) -> bool:
    match = _SUBVOLUME.fullmatch(root)
    return match is not None and _SNAPSHOT.fullmatch(match["path"]) is not None


def _defaults(handle: Any, found: Iterable[str]) -> dict[str, str]:
    """Return the path of each device's default subvolume, of those that have several roots."""
    matches = [match for root in found if (match := _SUBVOLUME.fullmatch(root))]
    if len(matches) < 2:
        return {}
    defaults = {}
    for device in {match["device"] for match in matches}:
        number = handle.btrfs_subvolume_get_default(device)
        paths = {each["btrfssubvolume_id"]: each["btrfssubvolume_path"] for each in handle.btrfs_subvolume_list(device)}
        if number in paths:
            defaults[device] = str(paths[number])
    return defaults


def _product(handle: Any, root: str) -> str:
    try:
        return str(handle.inspect_get_product_name(root))
    except (RuntimeError, UnicodeDecodeError):
        return "of no known name"


def _none(handle: Any) -> PipelineError:
    kinds = dict(handle.list_filesystems())
    encrypted = sorted(device for device, kind in kinds.items() if kind == "crypto_LUKS")
    if encrypted:
        return PipelineError(
            f"the disk is encrypted (LUKS on {', '.join(encrypted)}), so that nothing can be changed in it",
            hint="install without encryption: each instance would have the image's key; clouds encrypt volumes",
        )
    bare = [device for device, kind in sorted(kinds.items()) if kind in _WITH_FILES and _lacks_fstab(handle, device)]
    if bare:
        return PipelineError(
            f"the system on {', '.join(bare)} has no /etc/fstab, by which its file systems would be known",
            hint="write one into the image, even if it says only where / is",
        )
    return PipelineError("libguestfs found no operating system on the disk", hint="the installation did not end well")


def _lacks_fstab(handle: Any, device: str) -> bool:
    try:
        handle.mount_ro(device, "/")
    except RuntimeError:
        return False
    try:
        return handle.is_dir("/etc") and handle.is_dir("/usr") and not handle.is_file("/etc/fstab")
    finally:
        handle.umount("/")
