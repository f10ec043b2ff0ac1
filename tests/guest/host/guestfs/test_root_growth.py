"""Roots that are full grow into their disks: a partition, LVM's volume, btrfs; or it is said why they cannot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs import guest_space, root_growth
from pipeline.host.guestfs.appliance import Appliance, Drive
from pipeline.host.guestfs.guest_system import GuestIdentity, GuestSystem
from pipeline.host.system import process

pytestmark = pytest.mark.guest
MIB = 1 << 20
# Partition tables of disks that were smaller; all are enlarged to ``SIZE``.
TABLES = {
    "ext4": (40, "label: dos\nstart=2048, type=83\n"),
    "xfs": (360, "label: gpt\nstart=2048, size=2048\nstart=4096\n"),
    "btrfs": (130, "label: gpt\nstart=2048\n"),
    "behind": (50, "label: gpt\nstart=2048, size=40960\nstart=43008\n"),
}
SIZE = 480 * MIB
ROOTS = {"ext4": "/dev/sda1", "xfs": "/dev/group/root", "btrfs": "/dev/sdc1", "behind": "/dev/sdd1"}


@pytest.fixture(scope="module")
def handle(appliance_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("growth")
    drives = []
    for name, (size, table) in TABLES.items():
        raw = folder / name
        with raw.open("wb") as file:
            file.truncate(size * MIB)
        process.run(["sfdisk", "--quiet", raw], stdin=table.encode())
        with raw.open("r+b") as file:
            file.truncate(SIZE)
        drives.append(Drive(raw, "raw"))
    with (folder / "log").open("w+b") as log, Appliance("tcg", appliance_cache, folder, log).launched(drives) as handle:
        handle.pvcreate("/dev/sdb2")
        handle.vgcreate("group", ["/dev/sdb2"])
        handle.lvcreate("swap", "group", 16)
        handle.lvcreate_free("root", "group", 100)
        for kind, device in ROOTS.items():
            handle.mkfs("ext4" if kind == "behind" else kind, device)
        yield handle


def opened(handle: Any, kind: str, tmp_path: Path) -> GuestSystem:
    """The root of one disk, filled up to its last block."""
    handle.umount_all()
    handle.mount(ROOTS[kind], "/")
    handle.write("/file", b"kept")
    handle.debug("sh", ["dd if=/dev/zero of=/sysroot/filling bs=1M 2>/dev/null; sync; true"])
    identity = GuestIdentity("linux", "", "", None, None, "", "", "", {"/": ROOTS[kind]})
    return GuestSystem(handle, identity, "", (tmp_path / "log").open("wb"))


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_full_root_is_grown(handle: Any, kind: str, tmp_path: Path) -> None:
    system = opened(handle, kind, tmp_path)
    (before,) = guest_space.mounted(handle)
    assert root_growth.make_room(system, 64 * MIB)
    (after,) = guest_space.mounted(handle)
    # XFS counts its log of 64 MiB as none of its size.
    assert after.size > 380 * MIB and after.free > before.free + 50 * MIB
    assert handle.read_file("/file") == b"kept"
    assert "it was grown from" in system.notes[0]
    # Once is enough; and what has room is left as it is.
    handle.rm("/filling")
    assert not root_growth.make_room(system, 64 * MIB)


def test_a_full_root_that_cannot_grow_is_refused_with_the_sizes(handle: Any, tmp_path: Path) -> None:
    system = opened(handle, "behind", tmp_path)
    with pytest.raises(PipelineError, match=r"on /dev/sdd1 \(ext4\) is full .* KiB of 1\d MiB are free, and it cannot"):
        root_growth.make_room(system, 64 * MIB)
    handle.rm("/filling")
    assert not root_growth.make_room(system, 64 * MIB)
