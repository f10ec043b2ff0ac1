"""Describe what comes out: the files, their boot test, their signature, and how they are published."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from pipeline.recipes.model.fields import Bytes, Count, Flag, Model, Name, Seconds, Word
from pipeline.recipes.model.retention_fields import Gates, Retention

MIB = 1 << 20


class ProductFormat(StrEnum):
    """Formats of a finished image, named as the Image API names disk formats (and the container format ``ova``).

    ``aki`` and ``ari`` are the kernel and the ramdisk out of the disk, ``ami`` is its root file system without a
    partition table: what clouds start without a boot loader. ``iso`` is the system in memory, started from a CD.
    """

    QCOW2 = "qcow2"
    RAW = "raw"
    VMDK = "vmdk"
    VHD = "vhd"
    VHDX = "vhdx"
    VDI = "vdi"
    OVA = "ova"
    ISO = "iso"
    AKI = "aki"
    ARI = "ari"
    AMI = "ami"

    @property
    def can_compress(self) -> bool:
        """Whether clusters of this format can be compressed."""
        return self is ProductFormat.QCOW2

    @property
    def largest_disk(self) -> int | None:
        """The largest disk that it can hold, in bytes; ``None``: any that a recipe may have."""
        # QEMU's VHD_MAX_SECTORS (block/vpc.c), which Hyper-V's limit is.
        return 2040 << 30 if self is ProductFormat.VHD else None

    @property
    def is_disk(self) -> bool:
        """Whether a guest can be started from it, with or without a boot loader of its own."""
        return self not in (ProductFormat.AKI, ProductFormat.ARI)

    @property
    def is_whole_disk(self) -> bool:
        """Whether QEMU opens it as the disk with everything on it."""
        return self.is_disk and self not in (ProductFormat.AMI, ProductFormat.OVA, ProductFormat.ISO)


class Compression(StrEnum):
    """How the clusters of a QCOW2 file are compressed; zstd needs QEMU 5.1 or newer wherever it is read."""

    NONE = "none"
    ZLIB = "zlib"
    ZSTD = "zstd"


class Product(Model):
    """One file to make from the finished disk."""

    format: ProductFormat
    """The file's format."""
    compression: Compression = Compression.NONE
    """How its clusters are compressed."""

    @model_validator(mode="after")
    def _compressible(self) -> Self:
        if self.compression is not Compression.NONE and not self.format.can_compress:
            raise ValueError(f"{self.format} cannot be compressed; leave compression out")
        return self


class Firmware(StrEnum):
    """What starts the guest, named as ``hw_firmware_type`` names it."""

    BIOS = "bios"
    UEFI = "uefi"


class BootTest(Model):
    """The proof that the product boots, on exactly the hardware its published properties ask for."""

    enabled: Flag = True
    """Whether the product is booted at all before it is signed."""
    timeout: Annotated[Seconds, Field(validate_default=False)] = 300
    """How long the guest may take until its user-data reports, on an emulated processor."""
    memory: Annotated[Bytes, Field(ge=32 * MIB, le=1 << 40, validate_default=False)] = 256 * MIB
    """The guest's memory."""
    vcpus: Annotated[Count, Field(ge=1, le=64)] = 1
    """The guest's processors."""
    firmware: Annotated[tuple[Firmware, ...], Field(min_length=1, max_length=2)] = (Firmware.BIOS,)
    """Every firmware the image must boot with: the published one, and others."""
    thorough: Flag = False
    """Whether the others boot again whatever changed; else only when what they load up to the kernel did."""


class Visibility(StrEnum):
    """Who sees the published image."""

    PRIVATE = "private"
    SHARED = "shared"
    COMMUNITY = "community"
    PUBLIC = "public"


class Publish(Model):
    """How the image appears in a cloud."""

    name: Word | None = None
    """The image's name there; without it the recipe's name."""
    visibility: Visibility = Visibility.PRIVATE
    """Who sees it."""
    protected: Flag = False
    """Whether the cloud refuses to delete it."""
    hidden: Flag = False
    """Whether it is left out of plain listings."""
    tags: Annotated[tuple[Word, ...], Field(max_length=128)] = ()
    """Tags on the image."""
    min_disk: Annotated[Count, Field(ge=0, le=1 << 20)] | None = None
    """Smallest disk in GiB a guest needs; without it, from the disk's size."""
    min_ram: Annotated[Count, Field(ge=0, le=1 << 30)] = 0
    """Smallest memory in MiB a guest needs."""
    stores: Annotated[tuple[Name, ...], Field(max_length=32)] = ()
    """The stores to put the image in; without any, the cloud's default."""
    format: ProductFormat | None = None
    """Which disk is published; without it RAW where Ceph keeps it, elsewhere the first that is not RAW."""
    members: Annotated[tuple[Word, ...], Field(max_length=128)] = ()
    """Projects (by id) that a shared image is for."""
    gates: Gates = Gates()
    """Limits beyond which a new image is held back."""
    retention: Retention = Retention()
    """How long previous images are kept."""

    @model_validator(mode="after")
    def _members_of_shared_images(self) -> Self:
        if self.members and self.visibility is not Visibility.SHARED:
            raise ValueError(f"members: only shared images have members, this one is {self.visibility}")
        return self


class SignatureHash(StrEnum):
    """The digests an image signature can be over, named as ``img_signature_hash_method`` names them."""

    SHA224 = "SHA-224"
    SHA256 = "SHA-256"
    SHA384 = "SHA-384"
    SHA512 = "SHA-512"


class Signing(Model):
    """The signature over each product's final bytes."""

    enabled: Flag = True
    """Whether the products are signed."""
    key: Name = "default"
    """The signing key by its name in the key folder. ``default`` is made on first use, others by
    ``./inv keys.new NAME``."""
    hash: SignatureHash = SignatureHash.SHA256
    """The digest that is signed."""
