"""Describe the search for secrets and identities in the finished image, and what it may find."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.recipes.model.fields import Flag, Model, Text, Word, matching


class Allowed(Model):
    """A finding that is all right, and why."""

    rule: Word
    """The finding's rule, such as ``private-key``."""
    path: Word
    """A shell pattern of its path in the guest, such as ``/usr/share/doc/*``; ``*`` stands for any characters."""
    reason: Annotated[Text, Field(min_length=10)]
    """Why it may be there; it is published with the image's proof."""
    sha256: Annotated[str, *matching(r"[0-9a-f]{64}", "a SHA-256 digest in lower case")] | None = None
    """The digest the finding must have, so that another one under the same path is not allowed with it."""


class Scan(Model):
    """The search for secrets and identities in the finished image; what is found and not allowed ends the build."""

    enabled: Flag = True
    """Whether the image is searched at all before it is signed."""
    allow: Annotated[tuple[Allowed, ...], Field(max_length=256)] = ()
    """What may be found."""
