"""Write the partition table of a PC disk (MBR) as bytes.

Format: the four 16-byte entries at byte 446 and the signature at 510 of the first sector; sectors are 512 bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
LINUX, EFI_SYSTEM = 0x83, 0xEF
_CODE = 440
# Beyond what cylinder, head and sector can say: use the sector numbers.
_NO_CHS = b"\xfe\xff\xff"


@dataclass(frozen=True)
class Partition:
    """A primary partition: its first sector, its number of sectors, its type."""

    start: int
    sectors: int
    kind: int
    active: bool = False

    def entry(self) -> bytes:
        """Return it as it stands in the table."""
        flag = 0x80 if self.active else 0
        return struct.pack("<B3sB3sII", flag, _NO_CHS, self.kind, _NO_CHS, self.start, self.sectors)


def write(image: Path, partitions: list[Partition], *, code: bytes, identity: int) -> None:
    """Write boot code, the disk's 32-bit identity and up to four partitions into the first sector of ``image``."""
    if len(partitions) > 4 or len(code) > _CODE:
        raise ValueError("a partition table has four entries and 440 bytes of code")
    table = b"".join(partition.entry() for partition in partitions).ljust(64, b"\0")
    sector = code.ljust(_CODE, b"\0") + struct.pack("<IH", identity, 0) + table + b"\x55\xaa"
    with image.open("r+b") as file:
        file.write(sector)


def splice(part: Path, image: Path, offset: int) -> None:
    """Copy ``part`` into ``image`` at ``offset``, leaving holes where it is zero."""
    zero = bytes(1 << 16)
    with part.open("rb") as source, image.open("r+b") as target:
        position = offset
        while block := source.read(len(zero)):
            if block != zero[: len(block)]:
                target.seek(position)
                target.write(block)
            position += len(block)
