"""Describe unattended installations of Windows Server from its media."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from pipeline.recipes.model.download import Url
from pipeline.recipes.model.fields import Bytes, Count, Flag, Model, Seconds, Text, Word, matching
from pipeline.recipes.model.release import FileName
from pipeline.recipes.model.source_file import SourceFile

_MIB = 1 << 20
_Sha256 = Annotated[str, *matching("[0-9a-f]{64}", "a digest of 64 hexadecimal digits in lower case")]
Locale = Annotated[Word, *matching(r"[a-z]{2,3}(-[A-Z][a-z]{3})?-[A-Z]{2}", "a language such as en-US")]
ProductKey = Annotated[
    Word, *matching(r"[A-Z0-9]{5}(-[A-Z0-9]{5}){4}", "a product key: five groups of five characters")
]


class WindowsRelease(StrEnum):
    """The releases that are known here, by the names of their folders on the virtio driver media."""

    V2012_R2 = "2k12R2"
    V2016 = "2k16"
    V2019 = "2k19"
    V2022 = "2k22"

    @property
    def build(self) -> int:
        """The number of the release's builds."""
        return {"2k12R2": 9600, "2k16": 14393, "2k19": 17763, "2k22": 20348}[self.value]


class Companion(Model):
    """A file that an installation needs in addition to its media. It is looked for in the home's folder ``media``."""

    name: FileName
    """The file's name there."""
    where: Text
    """Where a person finds it."""
    urls: Annotated[tuple[Url, ...], Field(max_length=8)] = ()
    """Where it can be fetched, if it was not put there; that needs its digest."""
    sha256: _Sha256 | None = None
    """What it must be."""


class WindowsInstall(Model):
    """Windows Server from its installation media, by an answer file that is made from this."""

    method: Literal["windows"]
    """The media's own setup program, told everything by an answer file."""
    file: SourceFile | None = None
    """The installation media as a local file. ``--source FILE`` sets this."""
    supplied: Text
    """What a person brings along with ``--source``, and where it is to be had."""
    release: WindowsRelease
    """Which release it is: it decides the drivers."""
    edition: Text
    """The edition by its name on the media, such as ``Windows Server 2022 SERVERSTANDARD``."""
    language: Locale = "en-US"
    """The language of the media."""
    product_key: ProductKey | None = None
    """A generic key of volume licensing (they are public), where the media want one; evaluation media do not."""
    drivers: Companion
    """The virtio drivers: the media that the virtio-win project publishes."""
    cloudbase_init: Companion
    """The installer of cloudbase-init, which does on Windows what cloud-init does elsewhere."""
    cloud_user: Annotated[Word, *matching("[A-Za-z][A-Za-z0-9._-]{0,19}", "an account's name")] = "Administrator"
    """The account that cloudbase-init gives its password and keys to."""
    remote_desktop: Flag = True
    """Whether Remote Desktop is open, with network level authentication."""
    memory: Annotated[Bytes, Field(ge=512 * _MIB, le=1 << 40, validate_default=False)] = 4096 * _MIB
    """The installing guest's memory."""
    vcpus: Annotated[Count, Field(ge=1, le=64)] = 2
    """Its processors."""
    start_timeout: Annotated[Seconds, Field(ge=10, validate_default=False)] = 600
    """How long it may take until the media's setup program is being loaded."""
    timeout: Annotated[Seconds, Field(ge=60, validate_default=False)] = 6 * 3600
    """How long the installation may take, all restarts included."""
