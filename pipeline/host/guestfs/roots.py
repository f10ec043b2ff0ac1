"""Find the one operating system of a disk, and say why there is none, or which of several cannot be told apart."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs import appliance_shell, mountable

# Snapper's; the one that is the default subvolume is the system itself, as openSUSE is installed.
_SNAPSHOT = re.compile(r".*/\.snapshots/\d+/snapshot", re.DOTALL)
_WITH_FILES = ("ext2", "ext3", "ext4", "xfs", "btrfs")
# Kinds of LVM's volumes that are pieces of the disk, and nothing else.
_PLAIN_VOLUMES = ("linear", "striped")
_VOLUMES = "lvm lvs --noheadings --separator / -o segtype,vg_name,lv_name 2>/dev/null || true"


def find(handle: Any, requested: str | None = None) -> str:
    """Return the root that is to be worked on: ``requested``, or the only one that may be the system.

    Raises ``PipelineError`` where it is not clear which one that is, or where it lies on what no image should.
    """
    _refuse_layers(handle)
    found = [str(root) for root in handle.inspect_os()]
    if not found:
        raise _none(handle)
    if requested is not None:
        return _named(handle, requested, found)
    kept = choose(found, _defaults(handle, found))
    if len(kept) != 1:
        raise PipelineError(
            f"there are {len(kept)} operating systems on the disk", details=_listed(handle, kept), hint=_line(kept[0])
        )
    return kept[0]


def candidates(handle: Any, requested: str | None = None) -> list[str]:
    """Return the roots that may be the system, by looking into each file system; none where there is no system.

    It is ``requested`` alone where that is there.
    """
    found = [str(root) for root in handle.inspect_os()]
    if requested is not None and _canonical(handle, requested) in found:
        return [_canonical(handle, requested)]
    return choose(found, _defaults(handle, found))


def choose(found: Sequence[str], defaults: Mapping[str, str]) -> list[str]:
    """Return those of several roots that may be the system: not the snapshots of one.

    ``defaults`` are the devices' default subvolumes: what is mounted when nothing else is asked for.
    """
    kept = [root for root in found if _is_default(root, defaults) or not _is_snapshot(root)]
    preferred = [root for root in kept if _is_default(root, defaults)]
    same_disk = {_default_device(root, defaults) or root for root in kept}
    return preferred if len(preferred) == 1 and same_disk == {_default_device(preferred[0], defaults)} else kept


def _default_device(root: str, defaults: Mapping[str, str]) -> str | None:
    return next((device for device in defaults if root.startswith(mountable.subvolume(device, ""))), None)


def _is_default(root: str, defaults: Mapping[str, str]) -> bool:
    return any(root == mountable.subvolume(device, path) for device, path in defaults.items())


def _is_snapshot(root: str) -> bool:
    return mountable.is_subvolume(root) and _SNAPSHOT.fullmatch(root) is not None


def _defaults(handle: Any, found: Iterable[str]) -> dict[str, str]:
    """Return the path of each device's default subvolume, of those that have several roots."""
    subvolumes = [root for root in found if mountable.is_subvolume(root)]
    if len(subvolumes) < 2:
        return {}
    defaults = {}
    for device in {mountable.device(handle, root) for root in subvolumes}:
        number = handle.btrfs_subvolume_get_default(device)
        paths = {each["btrfssubvolume_id"]: each["btrfssubvolume_path"] for each in handle.btrfs_subvolume_list(device)}
        if number in paths:
            defaults[device] = str(paths[number])
    return defaults


def _refuse_layers(handle: Any) -> None:
    """Name what lies below file systems and cannot be an image's: copies on other disks, space that is not there."""
    arrays = [str(array) for array in handle.list_md_devices()]
    if arrays:
        raise PipelineError(
            f"the disk has software RAID ({', '.join(sorted(arrays))}), which an image of one disk is no place for",
            hint="install the system on plain partitions or LVM; a cloud's storage keeps the copies",
        )
    listed = appliance_shell.read(handle, _VOLUMES).decode(errors="replace") if handle.vgs() else ""
    odd = [f"{name} ({kind})" for kind, name in map(_kind_and_name, listed.split()) if kind not in _PLAIN_VOLUMES]
    if odd:
        raise PipelineError(
            f"the disk has volumes of LVM that are no plain pieces of it: {', '.join(sorted(odd))}",
            hint="install the system on plain (linear) volumes: thin pools, caches and copies cannot be looked into",
        )


def _kind_and_name(line: str) -> tuple[str, str]:
    kind, _, name = line.partition("/")
    return kind, name


def _named(handle: Any, requested: str, found: Sequence[str]) -> str:
    """Return the root that the recipe names, by any name that it has."""
    name = _canonical(handle, requested)
    if name not in found:
        raise PipelineError(
            f"there is no operating system on {requested}, which the recipe names (disk.root)",
            details=_listed(handle, found),
            hint=_line(found[0]),
        )
    return name


def _canonical(handle: Any, name: str) -> str:
    """Return a device's name as libguestfs has it: ``/dev/vda2`` and ``/dev/mapper/rhel-root`` are taken, too."""
    if not mountable.is_subvolume(name):
        with contextlib.suppress(RuntimeError):
            return str(handle.canonical_device_name(name))
    return name


def _listed(handle: Any, found: Iterable[str]) -> list[str]:
    return [f"{root}: {_product(handle, root)}" for root in found]


def _line(example: str) -> str:
    return (
        f"say which one is to be worked on, below disk: in the recipe, as in root: {example}; others stay as they are"
    )


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
