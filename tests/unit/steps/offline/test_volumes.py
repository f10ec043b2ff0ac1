"""New ids of LVM, and what of GRUB's has to follow; real volumes are in tests/guest."""

from __future__ import annotations

import pytest

from pipeline.steps.offline import volumes

OLD, NEW = "Ut2Xdw-1iCk-LyLM-QUWP-DqRR-dCCj-OYXMlb", "aaaaaa-bbbb-cccc-dddd-eeee-ffff-gggggg"
VOLUMES = ["/dev/rhel/root", "/dev/rhel/swap"]


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        ({"/": "/dev/rhel/root", "/boot": "/dev/sda1"}, False),
        ({"/": "/dev/rhel/root"}, True),
        ({"/": "/dev/sda1", "/boot": "/dev/rhel/root"}, True),
        ({"/": "/dev/sda1"}, False),
    ],
)
def test_where_grub_is_started_from(mounts: dict[str, str], expected: bool) -> None:
    assert volumes.boots_from_lvm(mounts, VOLUMES) is expected


def test_grubs_settings_name_the_new_group() -> None:
    line = "search --fs-uuid --set=root --hint='lvmid/{}/x1' 1234; # {}\n"
    text = line.format(OLD, OLD)
    assert volumes.replaced(text, {"rhel": OLD, "data": "zz"}, {"rhel": NEW}) == line.format(NEW, OLD)


def test_ids_are_written_as_lvm_writes_them() -> None:
    assert volumes._dashed(OLD.replace("-", "")) == OLD
