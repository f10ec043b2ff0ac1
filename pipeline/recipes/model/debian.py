"""Describe a Debian made from its packages."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.recipes.model.download import Url
from pipeline.recipes.model.fields import Model, Name, PackageName, Text


class DebianInstall(Model):
    """Debian from its packages, by mmdebstrap: no installer runs, no guest is started."""

    method: Literal["mmdebstrap"]
    """Debian from its packages."""
    suite: Name = "bookworm"
    """The release by its code name."""
    mirrors: Annotated[tuple[Url, ...], Field(min_length=1, max_length=8)] = ("http://deb.debian.org/debian",)
    """Equal mirrors of the archive; the first that answers is used. The archive's signature is checked in any case."""
    security: Annotated[tuple[Url, ...], Field(max_length=8)] = ("http://deb.debian.org/debian-security",)
    """Equal mirrors of the security updates; none leaves them out."""
    keyring: Text = "/usr/share/keyrings/debian-archive-keyring.gpg"
    """The keys the archive must be signed with, as a file of this machine (package debian-archive-keyring)."""
    packages: Annotated[tuple[PackageName, ...], Field(max_length=512)] = ()
    """Further packages, beside what every cloud image has."""
    kernel_arguments: tuple[Text, ...] = ()
    """Further words for the kernel's command line, behind the console settings."""
