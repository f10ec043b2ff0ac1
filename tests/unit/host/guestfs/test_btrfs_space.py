"""Which bytes a btrfs does not use; a real one is scrubbed in tests/guest."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs import btrfs_space

MIB = 1 << 20
# As btrfs-progs 6.2 prints them, without what is not read.
SUPER = """superblock: bytenr=65536, device=/dev/sdb1
csum_type\t\t0 (crc32c)
csum_size\t\t4
log_root\t\t{log}
total_bytes\t\t209715200
bytes_used\t\t{used}
nodesize\t\t16384
num_devices\t\t{devices}
incompat_flags\t\t{flags}
\t\t\t( MIXED_BACKREF |
\t\t\t  SKINNY_METADATA )
dev_item.total_bytes\t209715200
"""
CHUNKS = """chunk tree
leaf 22036480 items 4 free space 15781 generation 6 owner CHUNK_TREE
\titem 0 key (DEV_ITEMS DEV_ITEM 1) itemoff 16185 itemsize 98
\t\tdevid 1 total_bytes 314572800 bytes_used 92274688
\titem 1 key (FIRST_CHUNK_TREE CHUNK_ITEM 13631488) itemoff 16105 itemsize 80
\t\tlength 8388608 owner 2 stripe_len 65536 type DATA|single
\t\tio_align 65536 io_width 65536 sector_size 4096
\t\tnum_stripes 1 sub_stripes 1
\t\t\tstripe 0 devid 1 offset 13631488
\titem 2 key (FIRST_CHUNK_TREE CHUNK_ITEM 22020096) itemoff 15993 itemsize 112
\t\tlength 8388608 owner 2 stripe_len 65536 type METADATA|DUP
\t\tnum_stripes 2 sub_stripes 1
\t\t\tstripe 0 devid 1 offset 30408704
\t\t\tstripe 1 devid 1 offset 104857600
"""
EXTENTS = """key (13631488 BLOCK_GROUP_ITEM 8388608)
key (13635584 EXTENT_ITEM 8192)
key (22036480 METADATA_ITEM 0)
"""


def superblock(used: int = 8192 + 16384, devices: int = 1, flags: str = "0x361", log: int = 0) -> str:
    return SUPER.format(used=used, devices=devices, flags=flags, log=log)


def test_all_but_extents_in_each_copy_and_superblocks_is_free() -> None:
    free = btrfs_space.free(superblock(), CHUNKS, EXTENTS, 200 * MIB)
    taken = [
        (0, MIB),
        (13631488 + 4096, 8192),
        (30408704 + 16384, 16384),
        (64 * MIB, 4096),
        (104857600 + 16384, 16384),
    ]
    pieces, end = [], 0
    for start, length in taken:
        pieces.append((end, start - end))
        end = start + length
    assert free == [*pieces[1:], (end, 200 * MIB - end)]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ((superblock(devices=2), CHUNKS, EXTENTS), "a btrfs on 2 devices"),
        ((superblock(flags="0x2361"), CHUNKS, EXTENTS), r"features that are not known here \(0x2000\)"),
        ((superblock(log=30425088), CHUNKS, EXTENTS), "not unmounted cleanly"),
        ((superblock(used=4096), CHUNKS, EXTENTS), "not what its superblock counts"),
        ((superblock(), CHUNKS.replace("DATA|single", "DATA|RAID0"), EXTENTS), "the profile RAID0"),
        ((superblock(), CHUNKS.replace("22020096) ", "62020096) "), EXTENTS), "in none of its chunks"),
        ((superblock(), "", EXTENTS), "in none of its chunks"),
        (("", "", ""), "on no devices"),
    ],
)
def test_what_is_not_understood_is_refused(texts: tuple[str, str, str], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        btrfs_space.free(*texts, 200 * MIB)


@given(st.lists(st.tuples(st.integers(0, 2047), st.integers(1, 9)), max_size=20), st.integers(14, 220))
def test_pieces_neither_overlap_nor_touch_what_is_in_use(blocks: list[tuple[int, int]], size: int) -> None:
    used = [(13631488 + at * 4096, min(length, 2048 - at) * 4096) for at, length in blocks]
    text = "".join(f"key ({start} EXTENT_ITEM {length})\n" for start, length in used)
    pieces = btrfs_space.free(superblock(used=sum(length for _, length in used)), CHUNKS, text, size * MIB)
    assert all(start + length <= size * MIB and length > 0 for start, length in pieces)
    assert all(one[0] + one[1] < other[0] for one, other in itertools.pairwise(pieces))
    for start, length in [*used, (0, MIB), (64 * MIB, 4096)]:
        assert all(at + piece <= start or at >= start + length for at, piece in pieces)
