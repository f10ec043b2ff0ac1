"""What an fstab names, and what happens where that is not there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs import mounting
from pipeline.host.guestfs.mounting import FstabEntry

TABLE = b"""# <file system> <mount point> <type> <options>
PARTUUID=5F2A-01 / ext4 rw,discard 0 1
UUID=1234-ABCD /srv/a\\040b vfat defaults 0 0
PARTUUID="0A1B2C3D-15" /boot/efi/ vfat defaults 0 0
PARTLABEL=data /caf\xe9 ext4
LABEL=x /x
PARTUUID=77 none swap sw 0 0
PARTUUID=88 swap
#PARTUUID=99 /old ext4
/dev/vdb /mnt auto defaults,nofail,x-systemd.requires=cloud-init.service,_netdev,comment=cloudconfig 0 2
"""


class Disk:
    """A disk with a root, and one partition more; libguestfs's calls raise as they do."""

    def __init__(self, places: dict[str, str] | None, folders: tuple[str, ...], table: bytes = b"") -> None:
        self.places, self.folders, self.table = places, folders, table
        self.mounted: list[tuple[str, str]] = []
        self.types: tuple[str, ...] = ()
        self.used: tuple[str, ...] = ()
        self.odd: tuple[str, ...] = ()

    mount_ro: Any = None

    def inspect_get_mountpoints(self, root: str) -> dict[str, str]:
        if self.places is None:
            b"caf\xe9".decode()
        return self.places or {}

    def is_file(self, path: str, followsymlinks: bool) -> bool:
        return True

    def read_file(self, path: str) -> bytes:
        return self.table

    def is_dir(self, path: str, followsymlinks: bool = False) -> bool:
        path.encode()
        return path in self.folders

    def ls(self, path: str) -> list[str]:
        if path in self.odd:
            b"caf\xe9".decode()
        return ["lost+found"] if path not in self.used else ["lost+found", "grub2"]

    def part_to_dev(self, device: str) -> str:
        return device[:-1]

    def part_to_partnum(self, device: str) -> int:
        return int(device[-1])

    def part_get_gpt_type(self, disk: str, number: int) -> str:
        if not self.types:
            raise RuntimeError("part_get_gpt_type: not a GPT")
        return self.types[number - 1]

    def list_partitions(self) -> list[str]:
        return ["/dev/sda1", "/dev/sda2"]

    def blkid(self, device: str) -> dict[str, str]:
        return {"PART_ENTRY_UUID": f"5f2a-0{device[-1]}", "PART_ENTRY_NAME": f"name{device[-1]}"}

    def findfs_uuid(self, name: str) -> str:
        raise RuntimeError("findfs_uuid: unable to resolve")

    findfs_label = findfs_uuid

    def mount(self, device: str, location: str) -> None:
        if device not in self.list_partitions():
            raise RuntimeError(f"mount: mount exited with status 32: {device} does not exist\nmore")
        self.mounted.append((location, device))


def test_lines_that_name_file_systems_are_found() -> None:
    assert mounting.entries(TABLE) == [
        FstabEntry("PARTUUID=5F2A-01", "/"),
        FstabEntry("UUID=1234-ABCD", "/srv/a b"),
        FstabEntry('PARTUUID="0A1B2C3D-15"', "/boot/efi"),
        FstabEntry("PARTLABEL=data", "/caf\udce9"),
    ]


@given(st.binary(max_size=300))
def test_any_bytes_may_stand_in_a_table(table: bytes) -> None:
    assert all(entry.location.startswith("/") for entry in mounting.entries(b"PARTUUID=x " + table))


def test_what_is_not_there_is_told_and_passed_over() -> None:
    told: list[str] = []
    table = b"PARTLABEL=name2 /srv ext4\nUUID=1 /opt xfs\nPARTUUID=5F2A-02 /no/folder ext4\nLABEL=caf\xe9 /x ext4\n"
    disk = Disk({"/": "/dev/sda1", "/mnt": "/dev/vdb", "/data": "/dev/sda2"}, ("/mnt", "/srv"), table)
    assert mounting.mount_all(disk, "/dev/sda1", told.append) == {"/": "/dev/sda1", "/srv": "/dev/sda2"}
    assert told == [
        "/mnt of /etc/fstab is not mounted: /dev/vdb: mount: mount exited with status 32: /dev/vdb does not exist",
        "/dev/sda2 is not mounted: there is no folder /data",
        "/x of /etc/fstab is not mounted: LABEL=caf\udce9: there is no such device",
        "/opt of /etc/fstab is not mounted: UUID=1: there is no such device",
    ]


def test_snapshots_are_left() -> None:
    """On openSUSE, the root is one of them: below itself."""
    told: list[str] = []
    places = {"/": "btrfsvol:/dev/sda2/@/.snapshots/1/snapshot", "/.snapshots": "btrfsvol:/dev/sda2/@/.snapshots"}
    disk = Disk(places, ("/.snapshots",))
    disk.list_partitions = lambda: list(places.values())  # type: ignore[method-assign]
    assert mounting.mount_all(disk, places["/"], told.append) == {"/": places["/"]}
    assert told == ["/.snapshots is not mounted: snapshots stay as they are"]


def test_the_root_need_not_stand_in_the_fstab() -> None:
    disk = Disk({"/srv": "/dev/sda2"}, ("/srv",))
    assert mounting.mount_all(disk, "/dev/sda1", lambda text: None) == {"/": "/dev/sda1", "/srv": "/dev/sda2"}


def test_an_fstab_of_any_bytes_leaves_the_root() -> None:
    disk = Disk(None, ("/srv",), b"PARTUUID=5f2a-02 /srv ext4\n/dev/x /caf\xe9 ext4\n")
    assert mounting.mount_all(disk, "/dev/sda1", lambda text: None) == {"/": "/dev/sda1", "/srv": "/dev/sda2"}


@pytest.mark.parametrize("location", ["/usr", "/boot", "/var"])
def test_a_part_of_the_system_that_is_not_there_is_refused(location: str) -> None:
    for disk in (
        Disk({"/": "/dev/sda1", location: "/dev/vdb1"}, (location,)),
        Disk({"/": "/dev/sda1", location: "/dev/sda2"}, ()),
        Disk({"/": "/dev/sda1"}, (location,), f"UUID=1 {location} ext4 defaults 0 0".encode()),
    ):
        with pytest.raises(PipelineError, match=f"the guest has its {location} on .* cannot be mounted: ") as caught:
            mounting.mount_all(disk, "/dev/sda1", lambda text: None)
        assert "/etc/fstab" in str(caught.value.hint)


ROOT, ESP, BOOT = (
    "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
    "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
    "bc13c2ff-59e6-4262-a352-b275fd6f7172",
)


@pytest.mark.parametrize(
    ("types", "folders", "used", "places", "expected"),
    [
        ((ROOT, ESP), ("/boot",), (), {}, "/boot"),
        ((ROOT, ESP), ("/boot", "/efi"), (), {}, "/efi"),
        ((ROOT, ESP), ("/boot", "/boot/efi"), ("/boot",), {}, "/boot/efi"),
        ((ROOT, BOOT), ("/boot", "/efi"), (), {}, "/boot"),
        ((ROOT, ESP), ("/boot", "/efi"), (), {"/boot": "/dev/sda2"}, "/boot"),
        ((ROOT, ESP), ("/boot",), ("/boot",), {}, None),
        ((ESP, ESP), ("/boot",), (), {}, None),
        ((), ("/boot", "/efi"), (), {}, None),
    ],
)
def test_partitions_without_an_fstab_are_found_by_their_types(
    types: tuple[str, ...],
    folders: tuple[str, ...],
    used: tuple[str, ...],
    places: dict[str, str],
    expected: str | None,
) -> None:
    disk = Disk({"/": "/dev/sda1", **places}, folders)
    disk.types, disk.used = types, used
    found = {"/": "/dev/sda1"} | ({expected: "/dev/sda2"} if expected else {})
    assert mounting.mount_all(disk, "/dev/sda1", lambda text: None) == found


def test_a_folder_with_names_of_any_bytes_waits_for_nothing() -> None:
    disk = Disk({"/": "/dev/sda1"}, ("/boot",))
    disk.types, disk.odd = (ROOT, ESP), ("/boot",)
    assert mounting.mount_all(disk, "/dev/sda1", lambda text: None) == {"/": "/dev/sda1"}
