"""Names of devices inside the appliance; the appliance itself is launched in tests/guest."""

from __future__ import annotations

import pytest

from pipeline.host.guestfs.appliance import own_name


@pytest.mark.parametrize(
    ("device", "own"),
    [
        ("/dev/sda", "/dev/disk/guestfs/drivea"),
        ("/dev/sdb12", "/dev/disk/guestfs/driveb12"),
        ("/dev/system/root", "/dev/system/root"),
        ("/dev/md127", "/dev/md127"),
    ],
)
def test_a_device_is_found_by_its_drives_label_however_the_kernel_counts(device: str, own: str) -> None:
    assert own_name(device) == own
