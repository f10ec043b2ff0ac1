"""Check a VMDK in one file: grain directories, tables and grains (VMware, "Virtual Disk Format 5.0")."""

from __future__ import annotations

import struct
import sys
import zlib
from array import array

from pipeline.image.inspection.vmdk import AT_END, ENTRIES_OF_TABLE, FOOTER_BYTES, SECTOR, VmdkHeader, footer
from pipeline.image.integrity.layout import DiskFile, Parts

_ZERO_GRAIN = 1
_MARKER = struct.Struct("<QI")
_MAX_DIRECTORY = 512 << 20  # QEMU's bound on the entries of a directory (block/vmdk.c)


def check(image: DiskFile) -> None:
    """Raise ``FormatRefused`` unless every grain lies in the file, apart from others, and compressed ones unpack."""
    first = image.read(0, SECTOR, "header")
    header = VmdkHeader.parse(first)
    if header.directory == AT_END:
        header = footer(first, image.read(max(0, image.size - FOOTER_BYTES), FOOTER_BYTES, "footer"), image.size)
    _GrainTables(image, header).check()


class _GrainTables:
    def __init__(self, image: DiskFile, header: VmdkHeader) -> None:
        self._image, self._header = image, header
        self._grains = Parts(image, 1 if header.compressed else SECTOR)

    def check(self) -> None:
        header, image = self._header, self._image
        tables = -(-header.capacity // (header.grain * ENTRIES_OF_TABLE))
        if 4 * tables > _MAX_DIRECTORY:
            raise image.damaged(f"its directory has {tables} entries")
        directory = self._numbers(header.directory, tables, "directory")
        copy = self._numbers(header.redundant_directory, tables, "second directory") if self._is_doubled() else None
        seen: set[int] = set()
        for number, sector in enumerate(directory):
            if sector in seen:
                raise image.damaged(f"two entries of its directory name the table in sector {sector}")
            if copy is not None and bool(copy[number]) != bool(sector):
                raise image.damaged("its two directories differ")
            if sector:
                seen.add(sector)
                self._table(sector, copy[number] if copy is not None else None, number * ENTRIES_OF_TABLE)
        if not header.compressed:  # else every grain tells its place itself, and is padded
            self._grains.add(0, header.overhead, "header")
            self._grains.require_close(header.grain)
        self._grains.require_apart()

    def _is_doubled(self) -> bool:
        # A stream cannot have a copy before it knows where its grains are; some writers set the flag nevertheless.
        return self._header.has_redundant_directory and self._header.redundant_directory not in (0, AT_END)

    def _table(self, sector: int, copy: int | None, first: int) -> None:
        table = self._numbers(sector, ENTRIES_OF_TABLE, "table")
        if copy is not None and self._numbers(copy, ENTRIES_OF_TABLE, "second table") != table:
            raise self._image.damaged("its two copies of a table differ")
        for number, at in enumerate(table):
            if at > _ZERO_GRAIN:
                self._grain(at, first + number)
            elif at == _ZERO_GRAIN and not self._header.flags & 1 << 2:
                raise self._image.damaged("it has a grain in its header")

    def _grain(self, sector: int, number: int) -> None:
        header = self._header
        left = header.capacity - number * header.grain
        if left <= 0:
            raise self._image.damaged(f"it has a grain for sector {number * header.grain} of {header.capacity}")
        length = min(header.grain, left)
        if header.compressed:
            self._packed(sector, number * header.grain, length)
        else:
            self._grains.add(sector, length, "last grain")

    def _packed(self, sector: int, guest: int, length: int) -> None:
        image, at = self._image, sector * SECTOR
        marked, size = _MARKER.unpack(image.read(at, _MARKER.size, "last grain"))
        if marked != guest or not 0 < size <= 2 * self._header.grain * SECTOR:
            raise image.damaged(f"in sector {sector} is not the grain of the disk's sector {guest}")
        self._grains.add(at, _MARKER.size + size, "last grain")
        inflate = zlib.decompressobj()
        try:
            data = image.read(at + _MARKER.size, size, "last grain")
            unpacked = len(inflate.decompress(data, self._header.grain * SECTOR + 1)) if data else 0
        except zlib.error:
            unpacked = 0
        if not inflate.eof or unpacked not in (length * SECTOR, self._header.grain * SECTOR):
            raise image.damaged(f"the grain in sector {sector} cannot be unpacked")

    def _numbers(self, sector: int, count: int, what: str) -> array[int]:
        if not sector:
            raise self._image.damaged(f"it has no {what}")
        numbers = array("I", self._image.read(sector * SECTOR, 4 * count, what))
        if sys.byteorder == "big":
            numbers.byteswap()
        return numbers
