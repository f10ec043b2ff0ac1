"""What the finished system is, as facts: derived from the image, compared with what the recipe claims."""

from __future__ import annotations

from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.host.guest_system import GuestSystem
from pipeline.image import claims
from pipeline.recipes.model import Recipe

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
    """Everything found, as JSON data."""
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
    """The image properties that the facts prove."""
    return claims.derive(_inspected(found))


def require_agreement(recipe: Recipe, found: dict[str, Any]) -> None:
    """Raise ``PipelineError`` with every claim of the recipe that the image contradicts."""
    problems = claims.compare(recipe.image_properties, _inspected(found))
    if problems:
        raise PipelineError(
            f"recipe {recipe.name} claims what its image is not",
            details=[str(problem) for problem in problems],
            hint="correct 'os' or 'properties' in the recipe",
        )


def _inspected(found: dict[str, Any]) -> claims.Inspected:
    packages = found["packages"]
    if packages is None:
        names = None
    else:
        names = frozenset([*packages, *(["qemu-guest-agent"] if found["guest_agent"] else [])])
    return claims.Inspected(
        type=found["type"],
        distro=found["distro"],
        product=found["product"],
        major=found["major"],
        minor=found["minor"],
        architecture=found["architecture"],
        packages=names,
    )


def _firmware(system: GuestSystem) -> list[str]:
    """Which firmware finds something to start: a boot sector's code for BIOS, the fallback loader for UEFI."""
    found = ["bios"] if any(system.first_sectors()) else []
    return [*found, "uefi"] if any(system.exists(path) for path in _UEFI) else found
