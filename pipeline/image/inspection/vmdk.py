"""Parse the header of a VMDK in one file, and its copy at the end (VMware, "Virtual Disk Format 5.0")."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pipeline.image.inspection.vmdk_descriptor import STREAM_OPTIMIZED, Descriptor, is_text_descriptor
from pipeline.image.refusal import FormatRefused, RefusalReason

MAGIC = b"KDMV"
SECTOR = 512
ENTRIES_OF_TABLE = 512
AT_END = (1 << 64) - 1
FOOTER_BYTES = 3 * SECTOR  # marker, header, marker of the stream's end
FOOTER_MARKER, END_MARKER = 3, 0

_OLD_MAGIC = b"COWD"
_HEADER = struct.Struct("<4sIIQQQQIQQQ?4sH")
_GRAIN_DIRECTORY = slice(56, 64)  # where the header's field about it lies
_LINE_ENDS = b"\n \r\n"
_REDUNDANT, _COMPRESSED, _MARKERS = 1 << 1, 1 << 16, 1 << 17
_FLAGS = 1 << 0 | _REDUNDANT | 1 << 2 | _COMPRESSED | _MARKERS
_GRAINS = {1 << power for power in range(3, 12)}  # sectors: 4 KiB to 1 MiB
_MAX_DESCRIPTOR = 2047


@dataclass(frozen=True)
class VmdkHeader:
    """The fields of a header. ``capacity`` and offsets in sectors of 512 bytes; ``grain``: sectors of one grain."""

    version: int
    flags: int
    capacity: int
    grain: int
    descriptor_offset: int
    descriptor_size: int
    entries_of_table: int
    redundant_directory: int
    directory: int
    overhead: int
    line_ends: bytes
    compression: int

    @classmethod
    def parse(cls, data: bytes) -> VmdkHeader:
        """Read the first sector. Raises ``FormatRefused`` for what is no header that is understood entirely."""
        if len(data) < SECTOR:
            raise FormatRefused(RefusalReason.TRUNCATED, "the vmdk image ends within its header", detected="vmdk")
        magic, *fields = _HEADER.unpack_from(data)
        del fields[10]  # whether it was closed: says nothing about the disk
        header = cls(*fields)
        if magic != MAGIC:
            raise refused("it is of a kind that is not taken")
        trouble = header._trouble()
        if trouble:
            raise refused(trouble)
        return header

    @property
    def compressed(self) -> bool:
        """Whether its grains are compressed, each behind a marker."""
        return bool(self.flags & _COMPRESSED)

    @property
    def has_redundant_directory(self) -> bool:
        """Whether there is a second copy of all tables."""
        return bool(self.flags & _REDUNDANT)

    def _trouble(self) -> str | None:
        compressed = bool(self.flags & _COMPRESSED)
        if not 1 <= self.version <= 3:
            return f"its version is {self.version}; 1 to 3 are known"
        if self.flags & ~_FLAGS:
            return f"it has unknown flags ({self.flags:#x})"
        if compressed != bool(self.flags & _MARKERS) or self.compression != int(compressed):
            return "its flags contradict each other"
        if self.line_ends != _LINE_ENDS:
            return "a transfer as text has damaged it"
        # With a capacity of 0 QEMU takes the descriptor for the disk, wherever that points.
        if not 0 < self.capacity < 1 << 54:
            return f"its capacity is {self.capacity} sectors"
        if self.grain not in _GRAINS or self.entries_of_table != ENTRIES_OF_TABLE:
            return f"its grains have {self.grain} sectors, its tables {self.entries_of_table} entries"
        if self.descriptor_offset != 1 or not 1 <= self.descriptor_size <= _MAX_DESCRIPTOR:
            return "its descriptor is not where it belongs"
        if self.directory == AT_END and not compressed:
            return "it has its directory at the end, though it is no stream"
        return None


def judge(head: bytes, tail: bytes, size: int) -> None:
    """Refuse a VMDK that is not one disk in one file, from the file's first MiB and its last 1,536 bytes."""
    header = VmdkHeader.parse(head[:SECTOR])
    region = head[SECTOR : SECTOR * (1 + header.descriptor_size)]
    if len(region) < SECTOR * header.descriptor_size:
        raise FormatRefused(RefusalReason.TRUNCATED, "the vmdk image ends within its descriptor", detected="vmdk")
    descriptor = Descriptor.parse(region)
    if descriptor.sectors != header.capacity:
        raise refused(f"its header says {header.capacity} sectors, its descriptor {descriptor.sectors}")
    if (descriptor.kind == STREAM_OPTIMIZED) != header.compressed:
        raise refused(f"its descriptor says {descriptor.kind}, its header something else")
    if header.directory == AT_END:
        footer(head[:SECTOR], tail, size)


def footer(header: bytes, tail: bytes, size: int) -> VmdkHeader:
    """Return the copy of the header at the file's end, which tells where the directory is. Raises ``FormatRefused``."""
    if size < 2 * FOOTER_BYTES or size % SECTOR:
        raise FormatRefused(RefusalReason.TRUNCATED, "the vmdk image ends before its footer does", detected="vmdk")
    tail = tail[-FOOTER_BYTES:]
    marker, copy, end = tail[:SECTOR], tail[SECTOR : 2 * SECTOR], tail[2 * SECTOR :]
    if end != _marker(END_MARKER) or marker[8:] != _marker(FOOTER_MARKER)[8:]:
        raise FormatRefused(
            RefusalReason.TRUNCATED,
            "the vmdk image ends before its footer does: the file was cut off, or has something appended",
            detected="vmdk",
            hint="fetch it again",
        )
    same = bytearray(copy)
    same[_GRAIN_DIRECTORY] = header[_GRAIN_DIRECTORY]
    if bytes(same) != header:
        raise refused("its footer differs from its header")
    found = VmdkHeader.parse(copy)
    if found.directory == AT_END:
        raise refused("its footer names no directory")
    return found


def other_kind(head: bytes) -> bool:
    """Return whether a file is a VMDK of the kinds that are never taken: a text that names other files, or ESX 2's."""
    return head.startswith(_OLD_MAGIC) or (not head.startswith(MAGIC) and is_text_descriptor(head))


def refused(why: str) -> FormatRefused:
    """Return the error for a VMDK that must not be opened by anything."""
    return FormatRefused(
        RefusalReason.UNSAFE,
        f"the vmdk image is not taken: {why}",
        detected="vmdk",
        hint="convert it where it was made: qemu-img convert -O vmdk -o subformat=streamOptimized",
    )


def _marker(kind: int) -> bytes:
    return struct.pack("<QII", 0, 0, kind).ljust(SECTOR, b"\0")
