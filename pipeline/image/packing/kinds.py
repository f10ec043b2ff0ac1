"""Tell what an image is packed in, by its first bytes."""

from __future__ import annotations

from enum import StrEnum

HEAD = 512  # bytes that tell it
_SUM, _NAME = slice(148, 156), slice(0, 100)


class Packing(StrEnum):
    """How a file is packed. An OVA is a tar file with a virtual machine's description in front."""

    GZIP = "gzip"
    XZ = "xz"
    ZSTD = "zstd"
    BZIP2 = "bzip2"
    ZIP = "zip"
    TAR = "tar"
    OVA = "ova"

    @property
    def command(self) -> str:
        """What a person types to unpack it; ``FILE`` stands for the file."""
        return _COMMANDS[self]


_COMMANDS = {
    Packing.GZIP: "gunzip --keep FILE",
    Packing.XZ: "xz --decompress --keep FILE",
    Packing.ZSTD: "zstd --decompress FILE",
    Packing.BZIP2: "bunzip2 --keep FILE",
    Packing.ZIP: "unzip FILE",
    Packing.TAR: "tar --extract --file FILE",
    Packing.OVA: "tar --extract --file FILE",
}
_MAGICS = {
    b"\x1f\x8b\x08": Packing.GZIP,
    b"\xfd7zXZ\0": Packing.XZ,
    b"\x28\xb5\x2f\xfd": Packing.ZSTD,
    b"PK\x03\x04": Packing.ZIP,
}
_BZIP2, _BZIP2_BLOCK, _BZIP2_END = b"BZh", b"1AY&SY", b"\x17rE8P\x90"


def packing_of(head: bytes) -> Packing | None:
    """Return what a file that begins with ``head`` is packed in; ``None`` when it isn't packed."""
    for magic, packing in _MAGICS.items():
        if head.startswith(magic):
            return packing
    if head.startswith(_BZIP2) and head[4:10] in (_BZIP2_BLOCK, _BZIP2_END):
        return Packing.BZIP2
    if _is_tar(head[:HEAD]):
        return Packing.OVA if head[_NAME].rstrip(b"\0").lower().endswith(b".ovf") else Packing.TAR
    return None


def _is_tar(header: bytes) -> bool:
    """Whether a first entry's checksum fits: the magic is in few of the older ones, and may be in any disk."""
    if len(header) < HEAD or not header[0]:
        return False
    try:
        checksum = int(header[_SUM].strip(b" \0"), 8)
    except ValueError:
        return False
    return checksum == sum(header) - sum(header[_SUM]) + 8 * ord(" ")
