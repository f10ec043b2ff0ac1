"""The digest of the boot chain: another one when the firmware would load something else, and only then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.host.guestfs.appliance import Appliance, Drive
from pipeline.host.guestfs.guest_system import GuestSystem
from pipeline.host.system import process
from pipeline.steps.offline import boot_chain

pytestmark = pytest.mark.guest


@pytest.fixture(scope="module")
def system(tiny_disk: Path, appliance_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuestSystem]:
    folder = tmp_path_factory.mktemp("chain")
    overlay = folder / "overlay.qcow2"
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", tiny_disk, overlay])
    with (folder / "log").open("wb") as log:
        appliance = Appliance("tcg", appliance_cache, folder, log)
        with appliance.launched([Drive(overlay, "qcow2")]) as handle:
            yield GuestSystem.open(handle, log)


def digest(system: GuestSystem) -> str | None:
    return boot_chain.digest(system, system.handle.list_filesystems())


def test_it_changes_with_what_is_loaded_and_with_nothing_else(system: GuestSystem) -> None:
    before = digest(system)
    assert before is not None and len(before) == 64
    system.write("/etc/motd", "another system behind the same loader\n")
    assert digest(system) == before
    system.write("/boot/loader.cfg", "something new to load\n")
    added = digest(system)
    system.write("/boot/loader.cfg", "something else to load\n")
    changed = digest(system)
    assert len({before, added, changed}) == 3
    system.remove(["/boot/loader.cfg"])
    assert digest(system) == before


def test_it_changes_with_boot_sectors(system: GuestSystem) -> None:
    before = digest(system)
    (disk,) = system.handle.list_devices()
    code = system.handle.pread_device(disk, 440, 0)
    system.handle.pwrite_device(disk, bytes([code[0] ^ 1, *code[1:]]), 0)
    assert digest(system) != before
    system.handle.pwrite_device(disk, code, 0)
    assert digest(system) == before


def test_links_are_part_of_it(system: GuestSystem) -> None:
    """A loader may follow one. FAT has none: another folder stands in for a boot folder on the root file system."""
    mounts = {
        location if location != "/boot" else "/elsewhere": device for location, device in system.identity.mounts.items()
    }
    system.handle.umount("/boot")
    system.handle.mkdir_p("/elsewhere")
    system.handle.mount(mounts["/elsewhere"], "/elsewhere")
    moved = GuestSystem(system.handle, replace(system.identity, mounts=mounts), "", system.log)
    try:
        seen = [digest(moved)]
        for target in ("one", "two"):
            system.handle.ln_sf(target, "/boot/vmlinuz")
            seen.append(digest(moved))
        assert None not in seen and len(set(seen)) == 3
    finally:
        system.handle.rm_f("/boot/vmlinuz")
        system.handle.umount("/elsewhere")
        system.handle.mount(mounts["/elsewhere"], "/boot")


def test_nothing_is_said_where_more_could_be_loaded(system: GuestSystem) -> None:
    unmounted = replace(system.identity, mounts={"/": system.identity.mounts["/"]})
    assert digest(GuestSystem(system.handle, unmounted, "", system.log)) is None
    windows = replace(system.identity, type="windows")
    assert digest(GuestSystem(system.handle, windows, "", system.log)) is None


def test_nothing_is_said_where_a_link_leads_elsewhere(system: GuestSystem) -> None:
    device = system.identity.mounts["/boot"]
    system.handle.umount("/boot")
    system.handle.mv("/boot", "/real-boot")
    system.handle.ln_s("/etc", "/boot")
    try:
        system.handle.mount(device, "/real-boot")
        mounts = {"/": system.identity.mounts["/"], "/real-boot": device}
        linked = GuestSystem(system.handle, replace(system.identity, mounts=mounts), "", system.log)
        assert digest(linked) is None
    finally:
        system.handle.umount("/real-boot")
        system.handle.rm("/boot")
        system.handle.mv("/real-boot", "/boot")
        system.handle.mount(device, "/boot")
