"""Check QCOW2: L1 and L2 tables, reference counts, snapshots and every cluster (QEMU's docs/interop/qcow2.txt)."""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Iterator

import zstandard

from pipeline.image.integrity.layout import DiskFile
from pipeline.image.qcow2 import HEADER_BYTES, Qcow2Header

_OFFSET = 0x00FF_FFFF_FFFF_FE00
_COMPRESSED, _ZERO = 1 << 62, 1
_ZSTD = 1
_COMPRESSION_TYPE = 104  # its offset, in headers that are long enough
_MAX_SNAPSHOTS_BYTES = 64 << 20
_SNAPSHOT = struct.Struct(">QIHHIIQII")


def check(image: DiskFile) -> None:
    """Raise ``FormatRefused`` unless every table and every cluster lies in the file, and compressed ones unpack."""
    raw = image.read(0, min(image.size, HEADER_BYTES + 8), "header")
    header = Qcow2Header.parse(raw)
    if (trouble := header.damage()) is not None:
        raise image.damaged(trouble)
    _Qcow2Tables(image, header, raw).check()


class _Qcow2Tables:
    """One way through an image. Each table is read once, however often it is named: work is bounded by the file."""

    def __init__(self, image: DiskFile, header: Qcow2Header, raw: bytes) -> None:
        self._image, self._header = image, header
        self._cluster = 1 << header.cluster_bits
        self._seen: set[int] = set()
        self._packed = array("Q")  # where compressed clusters begin
        self._left = image.size  # all tables together are no longer than the file
        # Two fields in one: bytes from which on the sectors are counted, and the offset before them.
        self._shift = 62 - (header.cluster_bits - 8)
        long_header = header.version >= 3 and int.from_bytes(raw[100:104]) > _COMPRESSION_TYPE
        zstd = long_header and raw[_COMPRESSION_TYPE : _COMPRESSION_TYPE + 1] == bytes([_ZSTD])
        self._zstd = zstandard.ZstdDecompressor() if zstd else None

    def check(self) -> None:
        header = self._header
        self._references()
        # The machine's state in a snapshot lies beyond the disk's end; else there is nothing.
        self._level_1(header.l1_offset, header.l1_entries, None if header.snapshots else header.size)
        for offset, entries in self._snapshots():
            self._level_1(offset, entries, None)
        # Snapshots share clusters; without them each belongs to one place of the disk, whatever its counted references.
        if not header.snapshots and len(set(self._packed)) < len(self._packed):
            raise self._image.damaged("two places of its disk have the same compressed cluster")

    def _references(self) -> None:
        header = self._header
        for offset in self._table(header.reftable_offset, header.reftable_clusters << header.cluster_bits, "reference"):
            if offset:
                self._aligned(offset, "reference counts")
                self._image.require(offset + self._cluster, "reference counts")

    def _level_1(self, offset: int, entries: int, size: int | None) -> None:
        covered = self._cluster * self._cluster // 8  # bytes of disk behind one entry
        for number, entry in enumerate(self._table(offset, 8 * entries, "L1")):
            at = entry & _OFFSET
            if not at or at in self._seen:
                continue
            self._aligned(at, "an L2 table")
            self._seen.add(at)
            self._level_2(at, number * covered, size)

    def _level_2(self, offset: int, guest: int, size: int | None) -> None:
        for number, entry in enumerate(self._table(offset, self._cluster, "L2")):
            if not entry:
                continue
            at = guest + number * self._cluster
            if size is not None and at >= size:
                raise self._image.damaged(f"it has a cluster for byte {at} of a disk of {size} bytes")
            if entry & _COMPRESSED:
                self._unpack(entry)
            elif entry & _OFFSET:
                self._plain(entry, self._cluster if size is None else min(self._cluster, size - at))

    def _plain(self, entry: int, length: int) -> None:
        offset = entry & _OFFSET
        self._aligned(offset, "a cluster")
        if not entry & _ZERO:
            self._image.require(offset + length, "last cluster")
            if length < self._cluster:
                self._image.require_unused(offset + length, self._cluster - length)
        elif not self._image.is_zero(offset, length):
            raise self._image.damaged(
                f"the cluster at byte {offset} is marked as zeros and holds data",
                "qemu-img convert writes it without what was deleted",
            )

    def _unpack(self, entry: int) -> None:
        mask = (1 << self._shift) - 1
        offset = entry & mask
        sectors = ((entry & (_COMPRESSED - 1)) >> self._shift) + 1
        end = offset // 512 * 512 + 512 * sectors
        self._packed.append(offset)
        self._image.require(offset + 1, "last compressed cluster")
        # The last sector may be cut: nobody but the packed data tells how much of it is used.
        data = self._image.read(offset, min(end, self._image.size) - offset, "last compressed cluster")
        try:
            unpacked, rest = self._unpacked(data)
        except (zlib.error, zstandard.ZstdError):
            unpacked, rest = 0, 0
        if unpacked != self._cluster or rest >= 512:
            if end > self._image.size:
                raise self._image.truncated(end, "last compressed cluster")
            raise self._image.damaged(f"the compressed cluster at byte {offset} cannot be unpacked")

    def _unpacked(self, data: bytes) -> tuple[int, int]:
        """Return the length of a cluster's content, and how many bytes of ``data`` it does not need."""
        if self._zstd is not None:
            # Bounded, as a frame may claim any length. It begins with a mark, so that a wrong offset shows.
            return len(self._zstd.stream_reader(data).read(self._cluster + 1)), 0
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        made = inflate.decompress(data, self._cluster + 1)
        return (len(made) if inflate.eof else 0), len(inflate.unused_data)

    def _snapshots(self) -> Iterator[tuple[int, int]]:
        at, image = self._header.snapshots_offset, self._image
        first = at
        for _ in range(self._header.snapshots):
            if at - first > _MAX_SNAPSHOTS_BYTES:
                raise image.damaged("its table of snapshots does not end")
            fields = _SNAPSHOT.unpack(image.read(at, _SNAPSHOT.size, "table of snapshots"))
            yield fields[0], fields[1]
            at += -(-(_SNAPSHOT.size + fields[8] + fields[2] + fields[3]) // 8) * 8
            image.require(at, "table of snapshots")

    def _table(self, offset: int, length: int, what: str) -> array[int]:
        self._aligned(offset, f"the {what} table")
        self._left -= length
        if self._left < 0:
            raise self._image.damaged("its tables are longer than the file")
        table = array("Q", self._image.read(offset, length, f"{what} table"))
        if sys.byteorder == "little":
            table.byteswap()
        return table

    def _aligned(self, offset: int, what: str) -> None:
        if offset % self._cluster:
            raise self._image.damaged(f"{what} is not where one can be, at byte {offset}")
