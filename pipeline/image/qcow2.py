"""Parse the header of a QCOW2 image (QEMU's docs/interop/qcow2.txt), as far as a verdict needs it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEADER_BYTES = 104
_VERSION_2_BYTES = 72
_DIRTY, _CORRUPT = 1 << 0, 1 << 1
# QEMU's own bounds (block/qcow2.h): larger tables are refused when it opens the image.
_MAX_L1_BYTES = 32 << 20
_MAX_REFTABLE_BYTES = 8 << 20


@dataclass(frozen=True)
class Qcow2Header:
    """The fields of the header that decide about damage, encryption and truncation. Offsets and sizes in bytes."""

    version: int
    cluster_bits: int
    size: int
    crypt_method: int
    l1_entries: int
    l1_offset: int
    reftable_offset: int
    reftable_clusters: int
    snapshots: int
    snapshots_offset: int
    incompatible: int
    length: int

    @classmethod
    def parse(cls, data: bytes) -> Qcow2Header:
        """Parse the first 104 bytes of a file that is known to be QCOW2."""
        version, _, _, bits, size, crypt, l1, l1_at, ref_at, ref, snapshots, snapshots_at = struct.unpack(
            ">IQIIQIIQQIIQ", data[4:72]
        )
        # Version 2 ends at byte 72; what follows there is not a feature mask.
        features = struct.unpack(">Q", data[72:80])[0] if version >= 3 else 0
        length = struct.unpack(">I", data[100:104])[0] if version >= 3 else _VERSION_2_BYTES
        return cls(version, bits, size, crypt, l1, l1_at, ref_at, ref, snapshots, snapshots_at, features, length)

    @property
    def encrypted(self) -> bool:
        """Whether the guest's data is encrypted (AES or LUKS)."""
        return self.crypt_method != 0

    @property
    def end_of_tables(self) -> int:
        """The first byte behind both top-level tables; a complete file is at least as long."""
        l1 = self.l1_offset + 8 * self.l1_entries
        return max(l1, self.reftable_offset + (self.reftable_clusters << self.cluster_bits))

    def damage(self) -> str | None:
        """Return what the image says about its own state, or what is impossible about it; ``None`` when all is well."""
        if self.incompatible & _CORRUPT:
            return "is marked corrupt"
        if self.incompatible & _DIRTY:
            return "was not closed: its reference counts may be wrong"
        if self.version >= 3 and self.length < HEADER_BYTES:
            return f"says that its header has {self.length} bytes; {HEADER_BYTES} are the least"
        if not 9 <= self.cluster_bits <= 21:
            return f"has clusters of 2^{self.cluster_bits} bytes; 2^9 to 2^21 are possible"
        covered = 1 << (2 * self.cluster_bits - 3)  # bytes of disk behind one L1 entry
        needed = -(-self.size // covered)
        if 8 * self.l1_entries > _MAX_L1_BYTES or self.l1_entries < needed:
            return f"has {self.l1_entries} L1 entries where its size needs {needed}"
        if self.reftable_clusters << self.cluster_bits > _MAX_REFTABLE_BYTES:
            return f"has a reference count table of {self.reftable_clusters} clusters"
        return None
