"""Describe how an operating system gets onto the disk: one model a method, told apart by ``method``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.recipes.model.debian import DebianInstall
from pipeline.recipes.model.download import Download
from pipeline.recipes.model.fields import Model, Text
from pipeline.recipes.model.kickstart import KickstartInstall
from pipeline.recipes.model.release import Release
from pipeline.recipes.model.source_file import SourceFile
from pipeline.recipes.model.windows import WindowsInstall


class TinyInstall(Model):
    """A small guest made from this machine's own packages: a distribution kernel, busybox and an ext4 root."""

    method: Literal["tiny"]
    """A small guest from the distribution's kernel and busybox; nothing is downloaded."""
    kernel: Text = "cloud"
    """Which installed kernel to take: ``cloud``, ``generic`` or a full version; of several the newest."""
    kernel_arguments: tuple[Text, ...] = ()
    """Further words for the kernel's command line, behind the console settings."""


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
    """Where the image comes from, if it is always the same one."""
    release: Release | None = None
    """Where the newest image comes from, if its maker replaces it."""
    file: SourceFile | None = None
    """The image as a local file; with ``download`` it must be that very file. ``--source FILE`` sets this."""
    supplied: Text | None = None
    """What a person brings along with ``--source``, because it cannot be fetched, and where it is to be had."""
    format: ImageFormat = ImageFormat.QCOW2
    """The image's format; it is never guessed."""

    @model_validator(mode="after")
    def _some_origin(self) -> Self:
        if self.download is None and self.release is None and self.file is None and self.supplied is None:
            raise ValueError("give download, release, file or supplied")
        if self.download is not None and self.release is not None:
            raise ValueError("give either download or release")
        return self


Install = Annotated[
    TinyInstall | ImageInstall | DebianInstall | KickstartInstall | WindowsInstall, Field(discriminator="method")
]
