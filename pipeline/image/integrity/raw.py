"""Check raw disks and ISO images: what their own first sectors say of their length."""

from __future__ import annotations

import struct

from pipeline.image.integrity.layout import DiskFile

SECTOR = 512
_PARTITIONS, _SIGNATURE = 446, b"\x55\xaa"
_GPT, _PROTECTIVE = b"EFI PART", 0xEE
_DESCRIPTORS, _ISO_SECTOR, _MAX_DESCRIPTORS = 32768, 2048, 64


def check_disk(image: DiskFile) -> None:
    """Raise ``FormatRefused`` when a partition, or the second table of them, lies beyond the file's end."""
    if image.size < SECTOR:
        return
    first = image.read(0, SECTOR, "first sector")
    if not first.endswith(_SIGNATURE):
        return
    entries = [struct.unpack_from("<B3xB3xII", first, _PARTITIONS + 16 * number) for number in range(4)]
    if any(kind == _PROTECTIVE for _, kind, _, _ in entries):
        _check_gpt(image)
        return
    for active, kind, start, sectors in entries:
        if kind and active in (0, 0x80):
            image.require((start + sectors) * SECTOR, "last partition")


def _check_gpt(image: DiskFile) -> None:
    header = image.read(SECTOR, SECTOR, "table of partitions")
    if not header.startswith(_GPT):
        return  # sectors of 4 KiB: the guest's disk is none that QEMU gives by default
    other, last = struct.unpack_from("<Q8xQ", header, 32)
    image.require((max(other, last) + 1) * SECTOR, "second table of partitions")


def check_iso(image: DiskFile) -> None:
    """Raise ``FormatRefused`` when the file system is longer than the file."""
    for number in range(_MAX_DESCRIPTORS):
        found = image.read(_DESCRIPTORS + number * _ISO_SECTOR, _ISO_SECTOR, "descriptors")
        if found[1:6] != b"CD001" or found[0] == 255:
            return
        if found[0] == 1:
            blocks, block = struct.unpack_from("<I", found, 80)[0], struct.unpack_from("<H", found, 128)[0]
            image.require(blocks * block, "file system")
