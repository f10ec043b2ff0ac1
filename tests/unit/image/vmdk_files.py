"""VMDK files made by hand, after those that VMware's and VirtualBox's tools write."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

SECTOR, GRAIN, ENTRIES = 512, 128, 512
CAPACITY = 2 * GRAIN * ENTRIES  # sectors: two tables
AT_END = (1 << 64) - 1
CONTENT = b"grain after grain " * 3641  # of one grain, cut off there

VMWARE = """# Disk DescriptorFile
version=1
encoding="windows-1252"
CID=123a7d14
parentCID=ffffffff
isNativeSnapshot="no"
createType="{kind}"

# Extent description
RW {sectors} SPARSE "My disk 1.vmdk"

# The Disk Data Base 
#DDB

ddb.adapterType = "lsilogic"
ddb.geometry.cylinders = "8"
ddb.geometry.heads = "255"
ddb.geometry.sectors = "63"
ddb.longContentID = "5b8e0a7f2b1b6ab0e7d0d1e5123a7d14"
ddb.thinProvisioned = "1"
ddb.toolsVersion = "2147483647"
ddb.uuid = "60 00 C2 9b 1d 0a 3c 11-8e 8f 24 5f 1e 6d 22 0b"
ddb.virtualHWVersion = "10"
"""  # noqa: W291 - as VMware writes it
VIRTUALBOX = """# Disk DescriptorFile
version=1
CID=5ad8cc2e
parentCID=ffffffff
createType="{kind}"

# Extent description
RDONLY {sectors} SPARSE "box-disk1.vmdk"

# The disk Data Base 
#DDB

ddb.virtualHWVersion = "4"
ddb.adapterType="ide"
ddb.uuid.image="1ba4cd17-7d38-4fd8-9e76-5b6b0b4f8d8d"
ddb.uuid.parent="00000000-0000-0000-0000-000000000000"
ddb.uuid.modification="00000000-0000-0000-0000-000000000000"
ddb.uuid.parentmodification="00000000-0000-0000-0000-000000000000"
ddb.geometry.biosCylinders=""
ddb.comment=""
"""  # noqa: W291 - as VirtualBox writes it


@dataclass
class Fields:
    """The header's fields; a test changes the ones it lies about."""

    version: int = 1
    flags: int = 3
    capacity: int = CAPACITY
    grain: int = GRAIN
    descriptor_offset: int = 1
    descriptor_size: int = 20
    entries: int = ENTRIES
    redundant: int = 21
    directory: int = 30
    overhead: int = GRAIN
    line_ends: bytes = b"\n \r\n"
    compression: int = 0
    behind_descriptor: bytes = field(default=b"", repr=False)

    def pack(self, directory: int | None = None) -> bytes:
        return struct.pack(
            "<4sIIQQQQIQQQ?4sH",
            b"KDMV",
            self.version,
            self.flags,
            self.capacity,
            self.grain,
            self.descriptor_offset,
            self.descriptor_size,
            self.entries,
            self.redundant,
            self.directory if directory is None else directory,
            self.overhead,
            False,
            self.line_ends,
            self.compression,
        ).ljust(SECTOR, b"\0")


def content() -> bytes:
    return CONTENT[: GRAIN * SECTOR].ljust(GRAIN * SECTOR, b".")


def described(template: str, kind: str, sectors: int = CAPACITY) -> bytes:
    return template.replace("{kind}", kind).replace("{sectors}", str(sectors)).encode()


def sparse(descriptor: bytes | None = None, fields: Fields | None = None) -> bytes:
    """A monolithicSparse VMDK with data in its second grain; both copies of the tables are there."""
    fields = fields or Fields()
    descriptor = described(VMWARE, "monolithicSparse") if descriptor is None else descriptor
    region = (descriptor.ljust(20 * SECTOR, b"\0") + fields.behind_descriptor)[: 20 * SECTOR]
    tables, first = 2, 2 * GRAIN
    parts = {0: fields.pack(), 1: region}
    for directory, start in ((21, 22), (30, 31)):  # a directory's sector, then its tables of four sectors each
        parts[directory] = struct.pack(f"<{tables}I", *(start + 4 * number for number in range(tables)))
        parts[start] = struct.pack("<3I", 0, first, 0)
    parts[first] = content()
    data = bytearray((first + GRAIN) * SECTOR)
    for sector, part in parts.items():
        data[sector * SECTOR : sector * SECTOR + len(part)] = part
    return bytes(data)


def stream(descriptor: bytes | None = None, fields: Fields | None = None, footer: Fields | None = None) -> bytes:
    """A streamOptimized VMDK as VMware's OVF tool writes it: grains, tables, directory, footer, end."""
    fields = fields or stream_fields()
    descriptor = described(VMWARE, "streamOptimized") if descriptor is None else descriptor
    data = bytearray(fields.pack())
    data += (descriptor.ljust(20 * SECTOR, b"\0") + fields.behind_descriptor)[: 20 * SECTOR]
    data = data.ljust(fields.overhead * SECTOR, b"\0")
    grain = len(data) // SECTOR
    packed = zlib.compress(content())
    data += _padded(struct.pack("<QI", GRAIN, len(packed)) + packed)
    data += _marker(4, 1)  # four sectors of a table follow
    table = len(data) // SECTOR
    data += struct.pack("<3I", 0, grain, 0).ljust(4 * SECTOR, b"\0")
    data += _marker(1, 2)
    directory = len(data) // SECTOR
    data += _padded(struct.pack("<2I", table, 0))
    data += _marker(1, 3) + (footer or fields).pack(directory) + _marker(0, 0)
    return bytes(data)


def stream_fields(**changed: int) -> Fields:
    whole = {"version": 3, "flags": 0x30001, "redundant": 0, "directory": AT_END, "compression": 1}
    return Fields(**{**whole, **changed})  # type: ignore[arg-type]


def _padded(data: bytes) -> bytes:
    return data.ljust(-(-len(data) // SECTOR) * SECTOR, b"\0")


def _marker(sectors: int, kind: int) -> bytes:
    return struct.pack("<QII", sectors, 0, kind).ljust(SECTOR, b"\0")
