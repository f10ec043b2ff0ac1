"""How an operating system gets onto the disk: one model a method, told apart by ``method``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.recipes.fields import Model, Text


class TinyInstall(Model):
    """A small guest made from this machine's own packages: a distribution kernel, busybox and an ext4 root."""

    method: Literal["tiny"]
    """A small guest from the distribution's kernel and busybox; nothing is downloaded."""
    kernel: Text = "cloud"
    """Which installed kernel to take: ``cloud``, ``generic`` or a full version; of several the newest."""
    kernel_arguments: tuple[Text, ...] = ()
    """Further words for the kernel's command line, behind the console settings."""


Install = Annotated[TinyInstall, Field(discriminator="method")]
