"""Say what an image may be, and what it was found to be."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.image.packing.kinds import Packing

# What a disk is found to be whose bytes are the guest's: nothing, partitioned, or encrypted as a whole.
_REALLY_RAW = frozenset({"raw", "gpt", "luks"})
_DISK_IMAGES = frozenset({"qcow2", "vmdk", "vhd", "vhdx", "vdi", "iso"})


@dataclass(frozen=True)
class FormatLimits:
    """What an image may claim.

    ``max_virtual_size`` in bytes. ``max_ratio`` bounds virtual size / file size for disks above ``ratio_from`` bytes
    (small disks may be as empty as they like). ``tolerated`` names safety checks of the library that don't refuse, as
    ``"gpt.mbr"``; those of our own always do. Encrypted images can be allowed for clouds that hold the keys. With
    ``raw_must_be_raw`` what is declared raw has to be a disk's bytes, not a disk image of another format; without it,
    where ``disk_formats`` are given, at least none of a format that is not among them.
    """

    max_virtual_size: int = 16 << 40
    max_ratio: int = 200_000
    ratio_from: int = 64 << 30
    allow_encrypted: bool = False
    tolerated: frozenset[str] = frozenset()
    raw_must_be_raw: bool = False
    disk_formats: frozenset[str] | None = None

    def lacks(self, content: str) -> bool:
        """Return whether ``content`` is a disk image that could not be declared as what it is."""
        return self.disk_formats is not None and content in _DISK_IMAGES - self.disk_formats


@dataclass(frozen=True)
class FormatVerdict:
    """What an image is.

    ``format``: the detected name (``"gpt"`` for a partitioned raw disk). ``virtual_size``: bytes a guest sees, ``None``
    where the declared format does not tell. ``size``: bytes of the file. ``matches``: whether it is in the
    declared format. ``partitioned``: whether it starts with a table of partitions, as an ISO image may.
    ``packing``: what it is packed in, where it is no disk image but a compressed file or an archive.
    ``has_vhd_footer``: whether it ends like a fixed VHD, whatever it was declared.
    """

    format: str
    virtual_size: int | None
    size: int
    matches: bool = True
    partitioned: bool = False
    packing: Packing | None = None
    has_vhd_footer: bool = False

    @property
    def is_raw(self) -> bool:
        """Whether the bytes are those a guest sees when they are its disk."""
        return self.content in _REALLY_RAW or (self.format == "iso" and self.partitioned)

    @property
    def content(self) -> str:
        """What the bytes are, for people: a disk's format, or what one is packed in."""
        return str(self.packing) if self.packing else "vhd" if self.has_vhd_footer else self.format

    @property
    def advice(self) -> str | None:
        """What to do when it is not what it was declared."""
        if self.packing is not None:
            return f"unpack it: {self.packing.command}"
        # "Declare it raw" would publish anything at all as a disk.
        return None if self.is_raw else f"declare it {self.content}, or convert it: qemu-img convert"

    @property
    def disk_format(self) -> str:
        """The name to publish it under: a partitioned raw disk is ``raw``."""
        return "raw" if self.format == "gpt" else self.format
