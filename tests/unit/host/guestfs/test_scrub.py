"""What the scrub does when the appliance's devices come and go; real file systems are scrubbed in tests/guest."""

from __future__ import annotations

import re

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs import scrub

GONE = "debug: /dev/sda2: No such file or directory\nfatal error -- couldn't initialize XFS library"


LISTED = """Group 0: (Blocks 0-99) csum 0x1 [ITABLE_ZEROED]
  Free blocks: 10-19, 30
Group 1: (Blocks 100-199) [INODE_UNINIT]
  Free blocks: 100-599
  Free inodes: 1-8
"""
DEVICES = ("/dev/sda2", "/dev/mapper/vg-root", "/dev/vg/root")
FIELDS = {"Filesystem features": "has_journal extent", "Free blocks": "511", "Block size": "4096"}


class Appliance:
    """Two devices, the first of which is not there for the first ``gone`` attempts.

    The first has what ``fields`` and ``listed`` say, as tune2fs and dumpe2fs would.
    """

    def __init__(self, gone: int, said: str = GONE, fields: dict[str, str] = FIELDS, listed: str = "") -> None:
        self.gone, self.said, self.scrubbed = gone, said, 0
        self.fields, self.listed = fields, listed
        self.written: list[tuple[int, int]] = []

    def list_filesystems(self) -> dict[str, str]:
        return {"/dev/sda1": "ext4", "/dev/sda2": "unknown"}

    def mountable_device(self, name: str) -> str:
        return next(device for device in DEVICES if name.startswith(f"btrfsvol:{device}/"))

    def sync(self) -> None: ...

    def drop_caches(self, what: int) -> None: ...

    def tune2fs_l(self, device: str) -> dict[str, str]:
        return self.fields

    def debug(self, name: str, words: list[str]) -> str:
        pieces = re.findall(r"blkdiscard -z -o (\d+) -l (\d+) \S+a1", words[0])
        self.written += [(int(at), int(length)) for at, length in pieces]
        limit = re.search(r"dumpe2fs .* head -c (\d+)$", words[0])
        return self.listed[: int(limit[1])] if limit else ""

    def zerofree(self, device: str) -> None:
        if self.gone:
            self.gone -= 1
            raise RuntimeError(self.said)
        self.scrubbed += 1


def scrubbed(appliance: Appliance) -> dict[str, str]:
    return scrub.scrub(appliance, appliance.list_filesystems())


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrub, "_PAUSE", 0.0)


@pytest.mark.parametrize("gone", [0, 1, 5])
def test_a_device_that_comes_back_is_scrubbed(gone: int) -> None:
    appliance = Appliance(gone)
    assert scrubbed(appliance) == {
        "/dev/sda1": "zerofree",
        "/dev/sda2": scrub.NOT_COVERED,
    }
    assert appliance.scrubbed == 1


def test_a_device_that_stays_away_is_an_error_never_silence() -> None:
    with pytest.raises(PipelineError, match="/dev/sda1 does not stay"):
        scrubbed(Appliance(1000))


def test_other_failures_are_not_repeated() -> None:
    appliance = Appliance(1, "zerofree: /dev/sda1: the file system has errors")
    with pytest.raises(RuntimeError, match="has errors"):
        scrubbed(appliance)
    assert appliance.scrubbed == 0 and appliance.gone == 0


def test_free_extents_are_overwritten_without_being_read() -> None:
    appliance = Appliance(0, listed=LISTED)
    assert scrubbed(appliance)["/dev/sda1"] == "3 free extents"
    assert sorted(appliance.written) == [(10 * 4096, 10 * 4096), (30 * 4096, 4096), (100 * 4096, 500 * 4096)]
    assert not appliance.scrubbed


@pytest.mark.parametrize(
    ("field", "value"),
    [("Free blocks", "512"), ("Free blocks", "31"), ("Filesystem features", "has_journal needs_recovery extent")],
)
def test_a_list_that_is_not_what_the_superblock_counts_is_not_believed(field: str, value: str) -> None:
    appliance = Appliance(0, fields={**FIELDS, field: value}, listed=LISTED)
    assert scrubbed(appliance)["/dev/sda1"] == "zerofree"
    assert appliance.scrubbed == 1 and not appliance.written


def test_where_free_space_is_in_very_many_pieces_each_block_is_read() -> None:
    pieces = ", ".join(str(number) for number in range(100_000, 200_000, 2))
    appliance = Appliance(0, fields={**FIELDS, "Free blocks": "50000"}, listed=f"  Free blocks: {pieces}\n")
    assert scrubbed(appliance)["/dev/sda1"] == "zerofree"
    assert not appliance.written


@pytest.mark.parametrize("kind", ["f2fs", "crypto_LUKS", "reiserfs"])
def test_free_space_that_cannot_be_scrubbed_fails_the_build(kind: str) -> None:
    with pytest.raises(PipelineError, match=f"/dev/sda3 cannot be scrubbed: no method is known for {kind}") as caught:
        scrub.scrub(Appliance(0), {"/dev/sda3": kind})
    assert "sysprep.scrub: false" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("named", "device"),
    [
        ("btrfsvol:/dev/sda2/@/.snapshots/1/snapshot", "/dev/sda2"),
        ("btrfsvol:/dev/mapper/vg-root/@", "/dev/mapper/vg-root"),
        ("btrfsvol:/dev/vg/root/@", "/dev/vg/root"),
        ("/dev/vg/root", "/dev/vg/root"),
    ],
)
def test_subvolumes_share_their_devices_free_space(named: str, device: str) -> None:
    assert scrub._by_device(Appliance(0), {named: "btrfs"}) == {device: "btrfs"}


def test_a_subvolume_named_as_the_kernel_names_its_drive_is_no_file_system_of_its_own() -> None:
    systems = {"/dev/sda1": "vfat", "/dev/sda2": "btrfs", "btrfsvol:/dev/sdb2/@": "btrfs"}
    assert scrub._by_device(Appliance(0), systems) == {"/dev/sda1": "vfat", "/dev/sda2": "btrfs"}


def test_a_btrfs_that_cannot_be_scrubbed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Appliance, "blockdev_getsize64", lambda self, device: 1 << 30, raising=False)
    monkeypatch.setattr(Appliance, "debug", lambda self, name, words: "0 15 0\n\nbnVtX2RldmljZXMgMgo=")
    with pytest.raises(PipelineError, match="space of /dev/sda2 cannot be scrubbed: a btrfs on 2 devices") as caught:
        scrub.scrub(Appliance(0), {"btrfsvol:/dev/sda2/@": "btrfs"})
    assert "sysprep.scrub: false" in str(caught.value.hint)
