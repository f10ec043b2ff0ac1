"""How an operating system gets onto the disk: one model a method, told apart by ``method``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pipeline.recipes.fields import Bytes, Model, Text, matching
from pipeline.recipes.source_file import SourceFile


def _web_address(value: str) -> str:
    if not value.startswith(("https://", "http://")) or len(value.split()) != 1:
        raise ValueError("an address begins with https:// or http:// and has no spaces")
    return value


def _digest(length: int) -> tuple[object, ...]:
    return matching(f"[0-9a-f]{{{length}}}", f"a digest of {length} hexadecimal digits in lower case")


Url = Annotated[Text, AfterValidator(_web_address)]


class TinyInstall(Model):
    """A small guest made from this machine's own packages: a distribution kernel, busybox and an ext4 root."""

    method: Literal["tiny"]
    """A small guest from the distribution's kernel and busybox; nothing is downloaded."""
    kernel: Text = "cloud"
    """Which installed kernel to take: ``cloud``, ``generic`` or a full version; of several the newest."""
    kernel_arguments: tuple[Text, ...] = ()
    """Further words for the kernel's command line, behind the console settings."""


class Download(Model):
    """A file from the network whose bytes are known beforehand. It is fetched once and kept in the cache."""

    urls: Annotated[tuple[Url, ...], Field(min_length=1, max_length=16)]
    """The same file on several servers, tried in order."""
    sha256: Annotated[str, *_digest(64)]
    """Its digest, in hex: nothing else is ever used."""
    md5: Annotated[str, *_digest(32)] | None = None
    """Another digest, where the maker publishes no better one; checked beside the first."""
    sha512: Annotated[str, *_digest(128)] | None = None
    """Another digest, checked beside the first."""
    size: Bytes | None = None
    """Its size, if known."""


class ImageFormat(StrEnum):
    """Formats of a ready-made image."""

    QCOW2 = "qcow2"
    RAW = "raw"
    VMDK = "vmdk"
    VHD = "vhd"
    VHDX = "vhdx"
    VDI = "vdi"


class ImageInstall(Model):
    """A ready-made image, downloaded or from a file: it is checked, laid on the recipe's disk, and customised."""

    method: Literal["image"]
    """A ready-made image is the start."""
    download: Download | None = None
    """Where the image comes from."""
    file: SourceFile | None = None
    """The image as a local file; with ``download`` it must be that very file. ``--source FILE`` sets this."""
    format: ImageFormat = ImageFormat.QCOW2
    """The image's format; it is never guessed."""

    @model_validator(mode="after")
    def _some_origin(self) -> Self:
        if self.download is None and self.file is None:
            raise ValueError("give download or file")
        return self


Install = Annotated[TinyInstall | ImageInstall, Field(discriminator="method")]
