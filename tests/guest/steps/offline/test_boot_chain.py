"""The digest of the boot chain: another one when the firmware would load something else, and only then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.host.guestfs.guest_system import GuestSystem
from pipeline.steps.offline import boot_chain

pytestmark = pytest.mark.guest


@pytest.fixture(scope="module")
def kinds(system: GuestSystem) -> dict[str, str]:
    """The disk's file systems, which stay what they are."""
    return dict(system.handle.list_filesystems())


def test_it_changes_with_what_is_loaded_and_with_nothing_else(system: GuestSystem, kinds: dict[str, str]) -> None:
    before = boot_chain.digest(system, kinds)
    assert before is not None and len(before) == 64
    system.write("/etc/motd", "another system behind the same loader\n")
    assert boot_chain.digest(system, kinds) == before
    system.write("/boot/loader.cfg", "something new to load\n")
    added = boot_chain.digest(system, kinds)
    system.write("/boot/loader.cfg", "something else to load\n")
    changed = boot_chain.digest(system, kinds)
    assert len({before, added, changed}) == 3
    system.remove(["/boot/loader.cfg"])
    assert boot_chain.digest(system, kinds) == before


def test_it_changes_with_boot_sectors(system: GuestSystem, kinds: dict[str, str]) -> None:
    before = boot_chain.digest(system, kinds)
    (disk,) = system.handle.list_devices()
    code = system.handle.pread_device(disk, 440, 0)
    system.handle.pwrite_device(disk, bytes([code[0] ^ 1, *code[1:]]), 0)
    assert boot_chain.digest(system, kinds) != before
    system.handle.pwrite_device(disk, code, 0)
    assert boot_chain.digest(system, kinds) == before


def test_links_are_part_of_it(system: GuestSystem, kinds: dict[str, str]) -> None:
    """A loader may follow one. FAT has none: another folder stands in for a boot folder on the root file system."""
    mounts = {
        location if location != "/boot" else "/elsewhere": device for location, device in system.identity.mounts.items()
    }
    system.handle.umount("/boot")
    system.handle.mkdir_p("/elsewhere")
    system.handle.mount(mounts["/elsewhere"], "/elsewhere")
    moved = GuestSystem(system.handle, replace(system.identity, mounts=mounts), "", system.log)
    try:
        seen = [boot_chain.digest(moved, kinds)]
        for target in ("one", "two"):
            system.handle.ln_sf(target, "/boot/vmlinuz")
            seen.append(boot_chain.digest(moved, kinds))
        assert None not in seen and len(set(seen)) == 3
    finally:
        system.handle.rm_f("/boot/vmlinuz")
        system.handle.umount("/elsewhere")
        system.handle.mount(mounts["/elsewhere"], "/boot")


def test_nothing_is_said_where_more_could_be_loaded(system: GuestSystem, kinds: dict[str, str]) -> None:
    unmounted = replace(system.identity, mounts={"/": system.identity.mounts["/"]})
    assert boot_chain.digest(GuestSystem(system.handle, unmounted, "", system.log), kinds) is None
    windows = replace(system.identity, type="windows")
    assert boot_chain.digest(GuestSystem(system.handle, windows, "", system.log), kinds) is None


def test_nothing_is_said_where_a_link_leads_elsewhere(system: GuestSystem, kinds: dict[str, str]) -> None:
    device = system.identity.mounts["/boot"]
    system.handle.umount("/boot")
    system.handle.mv("/boot", "/real-boot")
    system.handle.ln_s("/etc", "/boot")
    try:
        system.handle.mount(device, "/real-boot")
        mounts = {"/": system.identity.mounts["/"], "/real-boot": device}
        linked = GuestSystem(system.handle, replace(system.identity, mounts=mounts), "", system.log)
        assert boot_chain.digest(linked, kinds) is None
    finally:
        system.handle.umount("/real-boot")
        system.handle.rm("/boot")
        system.handle.mv("/real-boot", "/boot")
        system.handle.mount(device, "/boot")
