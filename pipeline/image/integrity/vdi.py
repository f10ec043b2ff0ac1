"""Check VDI: the map of blocks, each block once (VirtualBox; QEMU's block/vdi.c describes it)."""

from __future__ import annotations

import struct

from pipeline.image.integrity.layout import DiskFile

_UNUSED = (0xFFFF_FFFF, 0xFFFF_FFFE)  # never written; discarded
_MAX_BLOCKS = 0x1FFF_FFFF  # QEMU's bound on the map
_BEGINNINGS = (512, 4096, 1 << 20)  # to what writers round up where the data begin


def check(image: DiskFile) -> None:
    """Raise ``FormatRefused`` unless every block of the map lies in the file, and none is there twice."""
    header = image.read(0, 512, "header")
    map_at, data_at = struct.unpack_from("<II", header, 0x154)
    size, block, extra, blocks, used = struct.unpack_from("<QIIII", header, 0x170)
    if not 4096 <= block <= 1 << 30 or block & (block - 1) or extra or blocks > _MAX_BLOCKS:
        raise image.damaged(f"it has {blocks} blocks of {block} bytes, and {extra} more in front of each")
    if blocks != -(-size // block) or used > blocks or map_at < 512 or data_at < map_at + 4 * blocks:
        raise image.damaged(f"its map has {blocks} blocks, {used} in use, for a disk of {size} bytes")
    end = data_at + used * block
    image.require(end, "last block")
    beginnings = {-(-(map_at + 4 * blocks) // unit) * unit for unit in _BEGINNINGS}
    if end != image.size and data_at not in beginnings:
        raise image.damaged(f"its data do not begin at byte {data_at}")
    seen = bytearray(used)
    for number, entry in enumerate(struct.unpack(f"<{blocks}I", image.read(map_at, 4 * blocks, "map of blocks"))):
        if entry in _UNUSED:
            continue
        if entry >= used or seen[entry]:
            raise image.damaged(f"its map names block {entry}, of {used}, " + ("twice" if entry < used else "falsely"))
        seen[entry] = 1
        if number == blocks - 1:
            image.require_unused(data_at + entry * block + (size - number * block), blocks * block - size)
    if not all(seen):
        raise image.damaged(f"{used - sum(seen)} of its blocks belong to nothing")
