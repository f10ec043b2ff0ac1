"""How much lies behind a root's partition; real ones are grown in tests/guest."""

from __future__ import annotations

import pytest

from pipeline.host.guestfs import root_growth

MIB, TIB = 1 << 20, 1 << 40


class Disk:
    """A disk with a table of one kind, and partitions of 10 MiB that begin at these mebibytes."""

    def __init__(self, kind: str, size: int, *starts: int) -> None:
        self.kind, self.size, self.starts = kind, size, starts

    def part_to_dev(self, device: str) -> str:
        return device[:-1]

    def part_to_partnum(self, device: str) -> int:
        return int(device[-1])

    def part_get_parttype(self, disk: str) -> str:
        return self.kind

    def part_list(self, disk: str) -> list[dict[str, int]]:
        return [
            {"part_num": number, "part_start": start * MIB, "part_end": (start + 10) * MIB - 1}
            for number, start in enumerate(self.starts, 1)
        ]

    def blockdev_getsize64(self, disk: str) -> int:
        return self.size


@pytest.mark.parametrize(
    ("disk", "behind"),
    [
        (Disk("gpt", 100 * MIB, 1), 88 * MIB),
        (Disk("msdos", 100 * MIB, 1), 88 * MIB),
        (Disk("gpt", 100 * MIB, 1, 50), 39 * MIB),
        (Disk("gpt", 11 * MIB, 1), 0),
        (Disk("gpt", 3 * TIB, 1), 3 * TIB - 12 * MIB),
        (Disk("msdos", 3 * TIB, 1), 2 * TIB - 12 * MIB),
    ],
)
def test_what_lies_behind_a_partition(disk: Disk, behind: int) -> None:
    assert root_growth._behind(disk, "/dev/sda1") == behind


def test_partitions_inside_an_extended_one_stay() -> None:
    assert root_growth._behind(Disk("msdos", 100 * MIB, 1, 12, 23, 34, 45), "/dev/sda5") == 0
