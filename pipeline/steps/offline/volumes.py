"""Give LVM's physical volumes and groups new ids, so that disks of two instances can be looked at on one machine."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping

from pipeline.host.guestfs.guest_system import GuestSystem
from pipeline.recipes.model.guest import SysprepOperation as Op
from pipeline.recipes.model.recipe import Recipe

_GRUB = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg", "/boot/efi/EFI/*/grub.cfg", "/etc/grub2.cfg")


def renew(system: GuestSystem, recipe: Recipe) -> int:
    """Change the ids of all of them, with nothing mounted meanwhile; return how many physical volumes there are.

    GRUB's settings follow. Where GRUB itself is started from LVM, its core image names the group by its id: there the
    ids stay, and that is told.
    """
    handle = system.handle
    if Op.LVM_UUIDS in recipe.sysprep.skip or not handle.pvs():
        return 0
    mounts = system.identity.mounts
    if boots_from_lvm(mounts, handle.lvs()):
        system.note("the ids of LVM stay: GRUB is started from LVM, and finds its volume by them (lvmid/)")
        return 0
    before = _groups(system)
    handle.umount_all()
    # Neither can be changed while a volume is in use.
    handle.vg_activate_all(False)
    handle.pvchange_uuid_all()
    handle.vgchange_uuid_all()
    handle.vg_activate_all(True)
    for location in sorted(mounts, key=len):
        handle.mount(mounts[location], location)
    _tell_grub(system, before, _groups(system))
    return len(handle.pvs())


def boots_from_lvm(mounts: Mapping[str, str], volumes: Collection[str]) -> bool:
    """Return whether the folder that GRUB reads lies on a logical volume."""
    return mounts.get("/boot", mounts.get("/", "")) in volumes


def replaced(text: str, before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return GRUB's settings with the new ids (group → id); GRUB writes them as LVM does."""
    for group, identity in before.items():
        text = text.replace(f"lvmid/{identity}", f"lvmid/{after.get(group, identity)}")
    return text


def _groups(system: GuestSystem) -> dict[str, str]:
    """Group → id, with the dashes that LVM shows and libguestfs takes away."""
    return {str(each["vg_name"]): _dashed(str(each["vg_uuid"])) for each in system.handle.vgs_full()}


def _dashed(identity: str) -> str:
    """As LVM groups the letters: 6-4-4-4-4-4-6 (``lib/uuid/uuid.c`` in its source)."""
    plain = identity.replace("-", "")
    ends = (0, 6, 10, 14, 18, 22, 26, 32)
    return "-".join(plain[start:end] for start, end in itertools.pairwise(ends))


def _tell_grub(system: GuestSystem, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    for pattern in _GRUB:
        for path in system.glob(pattern):
            old = system.read(path)
            new = replaced(old, before, after)
            if new != old:
                system.write(path, new)
