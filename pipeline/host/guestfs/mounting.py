"""Mount the file systems of an inspected system as its fstab(5) has them.

Lines name disks that are not there, as cloud-init writes them on each instance with an ephemeral disk; a system without
them starts all the same, unless it lies on them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.base.errors import PipelineError

# Without these, what is on the disk is not the system.
_NEEDED = ("/", "/usr", "/boot", "/var")
# systemd-gpt-auto-generator(8): types of partitions (extended boot loader, EFI system), and where they are mounted.
_DISCOVERED = {
    "BC13C2FF-59E6-4262-A352-B275FD6F7172": ("/boot",),
    "C12A7328-F81F-11D2-BA4B-00A0C93EC93B": ("/efi", "/boot", "/boot/efi"),
}
# Where snapper keeps what it took; on openSUSE the root itself is in there: whoever follows it goes in a circle.
_SNAPSHOTS = "/.snapshots"
# fstab(5): blanks in paths.
_ESCAPE = re.compile(r"\\([0-7]{3})")
_HINT = "an image is one disk: install the system on one, or mend the guest's /etc/fstab"


@dataclass(frozen=True)
class FstabEntry:
    """A line that mounts something: what (as it is named there), and where."""

    source: str
    location: str


def mount_all(handle: Any, root: str, note: Callable[[str], None], *, read_only: bool = False) -> dict[str, str]:
    """Mount them; return mount point → device. ``note`` gets the words on each that is passed over.

    Raises ``PipelineError`` where one cannot be mounted that holds the system itself.
    """
    mount = handle.mount_ro if read_only else handle.mount
    mounts: dict[str, str] = {}
    for location, device in sorted(places(handle, root).items(), key=lambda item: len(item[0])):
        _mount(handle, mount, location, device, mounts, note)
    table = handle.read_file("/etc/fstab") if handle.is_file("/etc/fstab", followsymlinks=True) else b""
    for entry in sorted(entries(table), key=lambda entry: len(entry.location)):
        if entry.location in mounts:
            continue
        found = _device(handle, entry.source)
        if found is None:
            _pass_over(entry.location, entry.source, "there is no such device", note)
        elif found not in mounts.values():
            _mount(handle, mount, entry.location, found, mounts, note)
    _mount_by_type(handle, mount, mounts, note)
    return mounts


def _mount_by_type(
    handle: Any, mount: Callable[[str, str], object], mounts: dict[str, str], note: Callable[[str], None]
) -> None:
    """Mount the partitions that systemd finds without an fstab, by their types, at the folder that waits for them."""
    for kind, locations in _DISCOVERED.items():
        waiting = [location for location in locations if location not in mounts and _is_empty(handle, location)]
        found = [device for device in handle.list_partitions() if _type(handle, device) == kind] if waiting else []
        # One that is mounted is in its place; of several, none is meant for sure.
        if len(found) == 1 and found[0] not in mounts.values():
            _mount(handle, mount, waiting[0], found[0], mounts, note)


def _is_empty(handle: Any, folder: str) -> bool:
    try:
        return bool(handle.is_dir(folder)) and not set(handle.ls(folder)) - {"lost+found"}
    except UnicodeDecodeError:  # names of any bytes are names
        return False


def _type(handle: Any, device: str) -> str:
    try:
        return str(handle.part_get_gpt_type(handle.part_to_dev(device), handle.part_to_partnum(device))).upper()
    except RuntimeError:  # no GPT
        return ""


def places(handle: Any, root: str) -> dict[str, str]:
    """Return mount point → device as libguestfs knows them; of an fstab that is not UTF-8, the root alone.

    The root need not stand in an fstab: the kernel mounts it.
    """
    try:
        return {"/": root, **handle.inspect_get_mountpoints(root)}
    except UnicodeDecodeError:
        return {"/": root}


def entries(table: bytes) -> list[FstabEntry]:
    """Return the lines of an fstab(5) that libguestfs may have passed over: file systems by a name of their own.

    Names of devices (``/dev/…``) are libguestfs's to translate.
    """
    found = []
    for line in table.decode(errors="surrogateescape").split("\n"):
        row = line.split()
        named = len(row) > 2 and re.match(r"(PART)?(UUID|LABEL)=", row[0])
        if named and row[1].startswith("/") and row[2] != "swap":
            location = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), row[1])
            found.append(FstabEntry(row[0], location.rstrip("/") or "/"))
    return found


def _device(handle: Any, source: str) -> str | None:
    kind, _, name = source.partition("=")
    name = name.strip('"')
    try:
        match kind:
            case "UUID":
                return str(handle.findfs_uuid(name))
            case "LABEL":
                return str(handle.findfs_label(name))
    except (RuntimeError, UnicodeError):
        return None
    field, name = ("PART_ENTRY_UUID", name.lower()) if kind == "PARTUUID" else ("PART_ENTRY_NAME", name)
    return next((device for device in handle.list_partitions() if _tags(handle, device).get(field) == name), None)


def _tags(handle: Any, device: str) -> Mapping[str, str]:
    try:
        return dict(handle.blkid(device))
    except (RuntimeError, UnicodeDecodeError):
        return {}


def _mount(
    handle: Any,
    mount: Callable[[str, str], object],
    location: str,
    device: str,
    mounts: dict[str, str],
    note: Callable[[str], None],
) -> None:
    if location.endswith(_SNAPSHOTS):
        note(f"{location} is not mounted: snapshots stay as they are")
        return
    try:
        if location != "/" and not handle.is_dir(location, followsymlinks=True):
            if location in _NEEDED:
                raise _missing(location, device, f"there is no folder {location}")
            note(f"{device} is not mounted: there is no folder {location}")
            return
        mount(device, location)
    except (RuntimeError, UnicodeEncodeError) as error:
        _pass_over(location, device, (str(error).strip().splitlines() or ["no reason given"])[0], note)
        return
    mounts[location] = device


def _pass_over(location: str, device: str, reason: str, note: Callable[[str], None]) -> None:
    if location in _NEEDED:
        raise _missing(location, device, reason)
    note(f"{location} of /etc/fstab is not mounted: {device}: {reason}")


def _missing(location: str, device: str, reason: str) -> PipelineError:
    return PipelineError(f"the guest has its {location} on {device}, which cannot be mounted: {reason}", hint=_HINT)
