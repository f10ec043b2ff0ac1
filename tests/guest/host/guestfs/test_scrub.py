"""Deleted files must be gone from the disk, live ones must not."""

from __future__ import annotations

import io
import random
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pipeline.host.guestfs import scrub
from pipeline.host.guestfs.appliance import Appliance, Drive, own_name
from tests.environments.venv import _CACHE

pytestmark = pytest.mark.guest
SIZES = {"ext4": 48, "xfs": 320, "ntfs": 48, "vfat": 48}
FILES = 90
APPLIANCES = _CACHE / "appliance"  # building one takes longer than starting it
SWAP_ID = "7d6a3a3e-6a8c-4f0c-9b7e-0d8f2f1f0a11"


def canaries(disk: Path) -> dict[str, set[bytes]]:
    """The marks on the bare disk, by file system and by whether their file lives."""
    found: dict[str, set[bytes]] = {}
    for match in re.finditer(rb"CANARY-(\w+-\w+)-(\d+)-", disk.read_bytes()):
        found.setdefault(match[1].decode(), set()).add(match[2])
    return found


def fill(handle: Any, kind: str, device: str, folder: Path) -> None:
    """Small and larger files, most of them deleted again: free space in many pieces between live ones.

    They are written and deleted in one call each: hundreds of calls take an emulated appliance half a minute.
    """
    chance = random.Random(kind)
    archive = folder / "files.tar"
    with tarfile.open(archive, "w") as tar:
        for number in range(FILES):
            mark = f"CANARY-{kind}-{'live' if number % 3 == 0 else 'dead'}-{number:03}-".encode()
            data = mark * max(1, chance.choice([30, 3000, 20_000, 200_000]) // len(mark))
            member = tarfile.TarInfo(f"f{number}")
            member.size, member.mode = len(data), 0o755  # FAT knows no other mode
            tar.addfile(member, io.BytesIO(data))
    handle.mkfs(kind, device)
    handle.mount(device, "/")
    handle.tar_in(str(archive), "/")
    handle.sync()
    dead = [f"/sysroot/f{number}" for number in range(FILES) if number % 3]
    handle.debug("sh", [f"rm {' '.join(dead)}"])
    handle.umount("/")


def test_deleted_files_leave_nothing_on_any_file_system(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    subprocess.run(["qemu-img", "create", "-q", "-f", "raw", disk, "520M"], check=True)
    with (tmp_path / "log").open("wb") as log:
        appliance = Appliance("tcg", APPLIANCES, tmp_path, log)
        with appliance.launched([Drive(disk, "raw")]) as handle:
            handle.part_init("/dev/sda", "gpt")
            start = 2048
            for number, (kind, size) in enumerate([*SIZES.items(), ("swap", 16)], 1):
                handle.part_add("/dev/sda", "p", start, start + size * 2048 - 1)
                start += size * 2048
                if kind != "swap":
                    fill(handle, kind, f"/dev/sda{number}", tmp_path)
            handle.mkswap("/dev/sda5", label="s", uuid=SWAP_ID)
            handle.pwrite_device("/dev/sda5", b"CANARY-swap-dead-001-", 1 << 20)
            handle.sync()
            before = canaries(disk)
            for number, kind in enumerate(SIZES, 1):
                own = own_name(f"/dev/sda{number}")
                assert handle.debug("sh", [f"blkid -o value -s TYPE {own}"]).strip() == kind
            methods = scrub.scrub(handle, handle.list_filesystems())
            assert handle.vfs_uuid("/dev/sda5") == SWAP_ID and handle.vfs_label("/dev/sda5") == "s"
            for number, kind in enumerate(SIZES, 1):
                handle.mount_ro(f"/dev/sda{number}", "/")
                assert handle.read_file("/f0").startswith(f"CANARY-{kind}-live-000-".encode())
                handle.umount("/")
    assert {f"{kind}-dead" for kind in [*SIZES, "swap"]} <= set(before)  # there was something to scrub
    assert canaries(disk) == {key: value for key, value in before.items() if key.endswith("-live")}
    assert "free extents" in methods["/dev/sda1"] and "free extents" in methods["/dev/sda2"]
