"""Runs inside the guest, in place of Windows: the loader's question for a key, Windows PE, specialize, logon, sysprep.

It decides where it is by what is on the disk, does what the answer file says, and takes nothing that it does not know.
Where the real Setup would show a window and wait, it writes to the screen and waits.
"""

from __future__ import annotations

from tests.environments.windows.guest import logon, windows_pe
from tests.environments.windows.guest.machine import (
    bootable,
    discs,
    disk,
    inside,
    key_pressed,
    mount_windows,
    serial,
    uefi,
    window,
)


def main() -> None:
    """One start of the machine."""
    device, _ = disk()
    media = discs()
    serial(f"stand-in: started by {'UEFI' if uefi() else 'BIOS'}")
    ready = bool(device) and bootable(device)
    setup = any(inside(location, "sources/install.wim") for location in media.values())
    # A BIOS loader asks only where there is something else to start; a UEFI one always does.
    if setup and (key_pressed(6) if ready or uefi() else True):
        serial("stand-in: Setup from the media")
        windows_pe.install(media)
    if not ready:
        window("No bootable device was found")
    mount_windows()
    logon.start(media)


main()
