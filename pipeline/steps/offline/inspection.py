"""Inspect the finished system: facts derived from the image."""

from __future__ import annotations

from typing import Any

from pipeline.host.guestfs.guest_system import GuestSystem
from pipeline.image import claims

_LOADERS = {
    "grub2": ("/boot/grub2/grub.cfg", "/boot/grub/grub.cfg", "/boot/grub2/grubenv"),
    "grub": ("/boot/grub/menu.lst", "/boot/grub/grub.conf"),
    "syslinux": (
        "/boot/ldlinux.sys",
        "/boot/syslinux.cfg",
        "/boot/extlinux/extlinux.conf",
        "/boot/syslinux/ldlinux.sys",
    ),
    "systemd-boot": ("/boot/loader/loader.conf", "/boot/efi/loader/loader.conf", "/efi/loader/loader.conf"),
}
_UEFI = ("/boot/EFI/BOOT/BOOTX64.EFI", "/boot/efi/EFI/BOOT/BOOTX64.EFI", "/efi/EFI/BOOT/BOOTX64.EFI")


def facts(system: GuestSystem) -> dict[str, Any]:
    """Return everything found, as JSON data."""
    identity = system.identity
    return {
        "type": identity.type,
        "distro": identity.distro,
        "product": identity.product,
        "major": identity.major,
        "minor": identity.minor,
        "architecture": identity.architecture,
        "mounts": dict(sorted(identity.mounts.items())),
        "package_format": identity.package_format or None,
        "packages": system.packages(),
        "kernels": system.kernels(),
        "guest_agent": system.has_guest_agent(),
        "cloud_init": system.has_command("cloud-init"),
        "loaders": [name for name, paths in _LOADERS.items() if any(system.exists(path) for path in paths)],
        "firmware": _firmware(system),
    }


def derived(found: dict[str, Any]) -> dict[str, str]:
    """Return the image properties that the facts prove."""
    return claims.derive(claims.InspectedGuest.from_facts(found))


def _firmware(system: GuestSystem) -> list[str]:
    """Which firmware finds something to start: a boot sector's code for BIOS, the fallback loader for UEFI."""
    found = ["bios"] if any(system.first_sectors()) else []
    return [*found, "uefi"] if any(system.exists(path) for path in _UEFI) else found
