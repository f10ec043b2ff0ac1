from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.host.guestfs.guest_system import named_by_partition

TABLE = b"""# <file system> <mount point> <type> <options>
PARTUUID=5F2A-01 / ext4 rw,discard 0 1
UUID=1234-ABCD /srv vfat defaults 0 0
PARTUUID="0A1B2C3D-15" /boot/efi vfat defaults 0 0
PARTUUID=77 none swap sw 0 0
PARTUUID=88 swap
#PARTUUID=99 /old ext4
"""


def test_what_is_named_by_its_partition_is_found() -> None:
    assert named_by_partition(TABLE) == {"/": "5f2a-01", "/boot/efi": "0a1b2c3d-15"}
    assert named_by_partition(b"") == {}


@given(st.binary(max_size=300))
def test_any_bytes_may_stand_in_a_table(table: bytes) -> None:
    assert all(location.startswith("/") for location in named_by_partition(b"PARTUUID=x " + table))
