"""Which of several roots is the system, and the words where there is none."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs import roots

THIN = r"no plain pieces of it: vg/pool \(thin-pool\), vg/root \(thin\)"
VOLUME = [f"btrfsvol:/dev/system/root/{path}" for path in ("@", "@/.snapshots/1/snapshot", "@/.snapshots/2/snapshot")]
SNAPSHOTS = [f"btrfsvol:/dev/sda2/@/.snapshots/{number}/snapshot" for number in (1, 2, 13)]


@pytest.mark.parametrize(
    ("found", "defaults", "kept"),
    [
        (["/dev/sda1"], {}, ["/dev/sda1"]),
        (SNAPSHOTS, {"/dev/sda2": "@/.snapshots/1/snapshot"}, SNAPSHOTS[:1]),
        ([*SNAPSHOTS, "btrfsvol:/dev/sda2/@"], {}, ["btrfsvol:/dev/sda2/@"]),
        ([*SNAPSHOTS, "/dev/sda1"], {"/dev/sda2": "@/.snapshots/2/snapshot"}, [SNAPSHOTS[1], "/dev/sda1"]),
        (["btrfsvol:/dev/sda2/@", "btrfsvol:/dev/sda2/old"], {"/dev/sda2": "@"}, ["btrfsvol:/dev/sda2/@"]),
        (["/dev/sda1", "/dev/sda3"], {}, ["/dev/sda1", "/dev/sda3"]),
        (VOLUME, {"/dev/system/root": "@/.snapshots/1/snapshot"}, VOLUME[1:2]),
    ],
)
def test_snapshots_are_not_the_system(found: list[str], defaults: dict[str, str], kept: list[str]) -> None:
    assert roots.choose(found, defaults) == kept


class Appliance:
    """A disk of which libguestfs says what a test says; ``fstab`` is whether its only system has one."""

    def __init__(
        self,
        found: list[str],
        kinds: dict[str, str],
        arrays: tuple[str, ...] = (),
        path: str = "",
        volumes: bytes = b"",
    ) -> None:
        self.found, self.kinds, self.arrays, self.path, self.volumes = found, kinds, arrays, path, volumes

    def vgs(self) -> list[str]:
        return ["vg"] if self.volumes else []

    def debug(self, name: str, words: list[str]) -> str:
        return f"0 {len(self.volumes)} 0\n\n{base64.b64encode(self.volumes).decode()}"

    def canonical_device_name(self, name: str) -> str:
        return name.replace("/dev/vd", "/dev/sd")

    def list_md_devices(self) -> tuple[str, ...]:
        return self.arrays

    def inspect_os(self) -> list[str]:
        return self.found

    def list_filesystems(self) -> dict[str, str]:
        return self.kinds

    def inspect_get_product_name(self, root: str) -> str:
        return b"caf\xe9".decode() if root.endswith("3") else "Debian 12"

    def mountable_device(self, name: str) -> str:
        path = name.removeprefix("btrfsvol:").split("/")
        return "/".join(path[: 4 if path[2] == "system" else 3])

    def btrfs_subvolume_get_default(self, device: str) -> int:
        assert device in ("/dev/sda2", "/dev/system/root")
        return 258

    def btrfs_subvolume_list(self, device: str) -> list[dict[str, Any]]:
        return [{"btrfssubvolume_id": 258, "btrfssubvolume_path": self.path}]

    def mount_ro(self, device: str, location: str) -> None: ...

    def umount(self, location: str) -> None: ...

    def is_dir(self, path: str) -> bool:
        return True

    def is_file(self, path: str) -> bool:
        return False


def test_the_default_subvolume_is_the_system() -> None:
    disk = Appliance(SNAPSHOTS, {}, path="@/.snapshots/2/snapshot")
    assert roots.find(disk) == SNAPSHOTS[1]
    assert roots.find(Appliance(VOLUME, {}, path="@/.snapshots/1/snapshot")) == VOLUME[1]


def test_the_recipe_may_name_the_root() -> None:
    disk = Appliance([*SNAPSHOTS, "/dev/sda1", "/dev/vg/root"], {})
    for wanted, found in (("/dev/vda1", "/dev/sda1"), (SNAPSHOTS[1], SNAPSHOTS[1]), ("/dev/vg/root", "/dev/vg/root")):
        assert roots.find(disk, wanted) == found
        assert roots.candidates(disk, wanted) == [found]
    # Of a file system that was taken out as a product of its own, names are others.
    assert roots.candidates(Appliance(["/dev/sda"], {}), "/dev/sda2") == ["/dev/sda"]


def test_roots_are_listed_with_the_line_to_write() -> None:
    for wanted, words in ((None, "there are 2 operating systems"), ("/dev/sda2", "no operating system on /dev/sda2")):
        with pytest.raises(PipelineError, match=words) as caught:
            roots.find(Appliance(["/dev/sda1", "/dev/sda3"], {}), wanted)
        assert caught.value.details == ("/dev/sda1: Debian 12", "/dev/sda3: of no known name")
        assert "root: /dev/sda1" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("disk", "words"),
    [
        (Appliance([], {"/dev/sda3": "crypto_LUKS"}), r"is encrypted \(LUKS on /dev/sda3\)"),
        (Appliance([], {"/dev/sda1": "ext4"}), "the system on /dev/sda1 has no /etc/fstab"),
        (Appliance([], {"/dev/sda1": "vfat"}), "found no operating system"),
        (Appliance(["/dev/vg/root"], {}, ("/dev/md0",)), r"the disk has software RAID \(/dev/md0\)"),
        (Appliance(["/dev/sda1"], {}, volumes=b"  thin-pool/vg/pool\n  thin/vg/root\n  linear/vg/x\n"), THIN),
        (Appliance(["/dev/sda1", "/dev/sda3"], {}), "there are 2 operating systems on the disk"),
    ],
)
def test_what_no_image_can_be_made_of_is_named(disk: Appliance, words: str) -> None:
    with pytest.raises(PipelineError, match=words) as caught:
        roots.find(disk)
    assert caught.value.hint
