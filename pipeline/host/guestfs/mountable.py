"""Tell the device of what libguestfs mounts: a device's name, or ``btrfsvol:DEVICE/SUBVOLUME``."""

from __future__ import annotations

from typing import Any

_SUBVOLUME = "btrfsvol:"


def is_subvolume(name: str) -> bool:
    """Return whether ``name`` is a subvolume of a btrfs."""
    return name.startswith(_SUBVOLUME)


def subvolume(device: str, path: str) -> str:
    """Return the name of a subvolume."""
    return f"{_SUBVOLUME}{device}/{path}"


def device(handle: Any, name: str) -> str:
    """Return the device. Where it ends in a name, only the appliance knows: LVM's volumes have a slash of their own."""
    return str(handle.mountable_device(name)) if is_subvolume(name) else name
