"""Check VHDX: headers, log, regions, metadata, and every block of the table ([MS-VHDX])."""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass

from pipeline.image.crc32c import crc32c
from pipeline.image.integrity.layout import DiskFile, Parts

_MIB = 1 << 20
_HEADERS, _HEADER_BYTES = (64 << 10, 128 << 10), 4096
_TABLES, _TABLE_BYTES = (192 << 10, 256 << 10), 64 << 10
_BAT = uuid.UUID("2DC27766-F623-4200-9D64-115E9BFD4A08")
_METADATA = uuid.UUID("8B7CA206-4790-4B9A-B8FE-575F050F886E")
_PARAMETERS = uuid.UUID("CAA16737-FA36-4D43-B3B6-33F0AA44E76B")
_SIZE = uuid.UUID("2FA54224-CD1B-4876-B211-5DBED83BF4B8")
_SECTOR = uuid.UUID("8141BF1D-A96F-4709-BA47-F233A8FAAB5F")
_PRESENT, _STATES_WITHOUT_DATA = 6, (0, 1, 2, 3)
_RESERVED = 0xFFFF8  # bits of a table's entry
_CHUNK_SECTORS = 1 << 23  # of the disk, which one block of sector bitmaps covers


@dataclass(frozen=True)
class _Disk:
    """From the metadata, in bytes."""

    size: int
    block: int
    sector: int


def check(image: DiskFile) -> None:
    """Raise ``FormatRefused`` unless it was closed, its copies agree, and every block lies in the file."""
    parts = Parts(image)
    parts.add(0, _MIB, "header")
    log_at, log_length = _log(image)
    if log_length:
        parts.add(log_at, log_length, "log")
    regions = _regions(image)
    for at, length in regions.values():
        parts.add(at, length, "region")
    disk = _metadata(image, *regions[_METADATA])
    _blocks(image, parts, disk, *regions[_BAT])
    parts.require_apart()
    parts.require_close(disk.block)


def _log(image: DiskFile) -> tuple[int, int]:
    """Where the log is, by the newer of the two headers that are sound."""
    sound = []
    for at in _HEADERS:
        header = image.read(at, _HEADER_BYTES, "header")
        if header.startswith(b"head") and _is_sound(header):
            sound.append((struct.unpack_from("<Q", header, 8)[0], header))
    if not sound:
        raise image.damaged("none of its two headers is sound")
    header = max(sound)[1]
    if any(header[48:64]):
        raise image.damaged("it was not closed: its log holds changes", "open and close it once where it was made")
    length, at = struct.unpack_from("<IQ", header, 68)
    return at, length


def _regions(image: DiskFile) -> dict[uuid.UUID, tuple[int, int]]:
    first, second = (image.read(at, _TABLE_BYTES, "table of regions") for at in _TABLES)
    if first != second or not _is_sound(first):
        raise image.damaged("its two tables of regions are not the same")
    (count,) = struct.unpack_from("<I", first, 8)
    found = {}
    for number in range(min(count, 2047)):
        name, at, length = struct.unpack_from("<16sQI", first, 16 + 32 * number)
        if at % _MIB or length % _MIB or not length:
            raise image.damaged(f"it has a region of {length} bytes at byte {at}")
        found[uuid.UUID(bytes_le=name)] = (at, length)
    if len(found) != count or not found.keys() >= {_BAT, _METADATA}:
        raise image.damaged("it has no table of its blocks, or no metadata")
    return found


def _metadata(image: DiskFile, at: int, length: int) -> _Disk:
    table = image.read(at, 64 << 10, "metadata")
    (count,) = struct.unpack_from("<H", table, 10)
    items: dict[uuid.UUID, bytes] = {}
    parts = Parts(image)
    for number in range(1, min(count, 2047) + 1):
        name, offset, size = struct.unpack_from("<16sII", table, 32 * number)
        if not size:
            continue
        if offset < 64 << 10 or offset + size > length:
            raise image.damaged(f"an item of its metadata lies at byte {offset} of {length}")
        parts.add(at + offset, size, "metadata")
        items[uuid.UUID(bytes_le=name)] = image.read(at + offset, min(size, 64), "metadata")
    parts.require_apart()
    try:
        (block,) = struct.unpack("<I4x", items[_PARAMETERS])
        (size,) = struct.unpack("<Q", items[_SIZE])
        (sector,) = struct.unpack("<I", items[_SECTOR])
    except (KeyError, struct.error):
        raise image.damaged("its metadata do not tell the disk's size") from None
    if sector not in (512, 4096) or not _MIB <= block <= 256 * _MIB or block & (block - 1) or not size or size % sector:
        raise image.damaged(f"it has blocks of {block} bytes for a disk of {size} bytes in sectors of {sector}")
    return _Disk(size, block, sector)


def _blocks(image: DiskFile, parts: Parts, disk: _Disk, at: int, length: int) -> None:
    """Note every block. Between their entries stand some for bitmaps, which only children use."""
    ratio = _CHUNK_SECTORS * disk.sector // disk.block
    blocks = -(-disk.size // disk.block)
    entries = blocks + (blocks - 1) // ratio
    if 8 * entries > length:
        raise image.damaged(f"its table has {length // 8} entries where the disk needs {entries}")
    image.require_unused(at + 8 * entries, length - 8 * entries)
    for number, entry in enumerate(struct.unpack(f"<{entries}Q", image.read(at, 8 * entries, "table of blocks"))):
        if not entry:
            continue
        state, start = entry & 7, (entry >> 20) * _MIB
        chunk, place = divmod(number, ratio + 1)
        if entry & _RESERVED or place == ratio:
            raise image.damaged(f"entry {number} of its table of blocks makes no sense")
        size = min(disk.block, disk.size - (chunk * ratio + place) * disk.block)
        if state == _PRESENT:
            parts.add(start, size, "last block")
            image.require_unused(start + size, disk.block - size)
        elif state not in _STATES_WITHOUT_DATA or (start and not image.is_zero(start, size)):
            raise image.damaged(
                f"the block at byte {start} is marked as empty and holds data",
                "qemu-img convert, or Optimize-VHD, writes it without what was deleted",
            )


def _is_sound(data: bytes) -> bool:
    (expected,) = struct.unpack_from("<I", data, 4)
    return crc32c(data[:4] + bytes(4) + data[8:]) == int(expected)
