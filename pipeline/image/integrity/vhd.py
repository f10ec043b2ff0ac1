"""Check VHD: both footers, the header, the table and every block (Microsoft's VHD specification, 2006)."""

from __future__ import annotations

import struct

from pipeline.image.integrity.layout import DiskFile, Parts

_SECTOR = 512
_COOKIE = b"conectix"
_UNUSED = 0xFFFF_FFFF
_SAME = slice(40, 64)  # sizes, geometry and kind, of which there are two copies
_MAX_TABLE = 512 << 20


def check(image: DiskFile) -> None:
    """Raise ``FormatRefused`` unless footers and header are sound and every block lies in the file."""
    if not image.read(0, len(_COOKIE), "header").startswith(_COOKIE):
        return  # a fixed one: the disk, and a footer that was looked at before it was taken for one
    first, last = (image.read(at, _SECTOR, "footer") for at in (0, max(0, image.size - _SECTOR)))
    if not last.startswith(_COOKIE):
        raise image.truncated(image.size + _SECTOR, "footer")
    if _checksum(first, 64) or _checksum(last, 64) or first[_SAME] != last[_SAME]:
        raise image.damaged("its two footers are not the same")
    (header_at,) = struct.unpack_from(">Q", first, 16)
    header = image.read(header_at, 1024, "header")
    if _checksum(header, 36):
        raise image.damaged("its header's checksum is wrong")
    table_at, _, entries, block = struct.unpack_from(">QIII", header, 16)
    (size,) = struct.unpack_from(">Q", first, 48)
    if block < _SECTOR or block & (block - 1) or entries * block < size or 4 * entries > _MAX_TABLE:
        raise image.damaged(f"its table has {entries} blocks of {block} bytes for a disk of {size} bytes")
    parts = Parts(image)
    parts.add(0, _SECTOR, "header")
    parts.add(header_at, 1024, "header")
    parts.add(table_at, 4 * entries, "table")
    parts.add(image.size - _SECTOR, _SECTOR, "footer")
    table = struct.unpack(f">{entries}I", image.read(table_at, 4 * entries, "table"))
    bitmap = -(-(block // _SECTOR) // 8 // _SECTOR) * _SECTOR
    for number, sector in enumerate(table):
        if sector == _UNUSED:
            continue
        if number * block >= size:
            raise image.damaged(f"it has a block for byte {number * block} of a disk of {size} bytes")
        parts.add(sector * _SECTOR, bitmap + block, "last block")
    parts.require_apart()


def _checksum(data: bytes, at: int) -> int:
    """0 where the complement's sum at ``at`` fits ``data``."""
    (expected,) = struct.unpack_from(">I", data, at)
    return int(expected) ^ (~(sum(data) - sum(data[at : at + 4])) & 0xFFFF_FFFF)
