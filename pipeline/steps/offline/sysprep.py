"""Take away what makes an installed system this one, so that each guest started from the image becomes its own."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable

from pipeline.host.guestfs.guest_system import GuestSystem
from pipeline.recipes.model.guest import SysprepOperation as Op
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.offline.sysprep_table import EMPTIED, FILES_ONLY, PATTERNS

_BACKUP = re.compile(r".*(\.bak|~)", re.DOTALL)
_DBUS_ID = "/var/lib/dbus/machine-id"
_INTERFACES = "/etc/sysconfig/network-scripts/ifcfg-*"
# Lines of ifcfg files that name one machine; without HWADDR and UUID the file fits every card.
_IDENTIFYING = {
    Op.NET_HOSTNAME: re.compile(r"\s*(DHCP_)?HOSTNAME="),
    Op.NET_HWADDR: re.compile(r"\s*(HWADDR|MACADDR|UUID)="),
}


def apply(system: GuestSystem, recipe: Recipe) -> dict[str, int]:
    """Do every operation the recipe does not skip; return how many files each of them changed, where any.

    Files that the recipe itself puts into the guest are left alone.
    """
    operations = [operation for operation in Op if operation not in recipe.sysprep.skip]
    kept = {file.path for file in recipe.customize.files}
    changed: dict[str, int] = {}
    system.forget()
    for operation in operations:
        paths = _without(_found(system, operation), kept)
        if paths:
            system.log.write("".join(f"{operation}: {path}\n" for path in paths).encode(errors="surrogateescape"))
            changed[str(operation)] = len(paths)
            _clear(system, operation, paths)
    return changed


def _found(system: GuestSystem, operation: Op) -> list[str]:
    if operation is Op.BACKUP_FILES:
        kinds = system.tree().kinds
        return sorted(path for path, kind in kinds.items() if kind == "f" and _BACKUP.fullmatch(path))
    if operation in _IDENTIFYING:
        pattern = _IDENTIFYING[operation]
        return [path for path in system.glob(_INTERFACES) if _has_line(system, path, pattern)]
    if operation in EMPTIED:
        return [path for path in EMPTIED[operation] if system.read(path)]
    found = [path for pattern in PATTERNS.get(operation, ()) for path in system.glob(pattern)]
    return [path for path in found if operation not in FILES_ONLY or system.tree().is_file(path)]


def _without(paths: Iterable[str], kept: Collection[str]) -> list[str]:
    """``paths`` without those that are to be kept, or hold one that is."""
    unique = dict.fromkeys(paths)
    return [path for path in unique if not any(each == path or each.startswith(f"{path}/") for each in kept)]


def _clear(system: GuestSystem, operation: Op, paths: list[str]) -> None:
    if operation in _IDENTIFYING:
        for path in paths:
            lines = system.read(path).splitlines(keepends=True)
            system.write(path, "".join(line for line in lines if not _IDENTIFYING[operation].match(line)))
    elif operation in EMPTIED:
        for path in paths:
            system.change(path, functools.partial(system.handle.truncate, path))
        if operation is Op.MACHINE_ID and system.tree().is_file(_DBUS_ID):
            system.remove([_DBUS_ID])
    else:
        system.remove(paths)


def _has_line(system: GuestSystem, path: str, pattern: re.Pattern[str]) -> bool:
    return any(pattern.match(line) for line in system.read(path).splitlines())
