"""Describe files from the network whose bytes are known beforehand."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from pipeline.recipes.model.fields import Bytes, Model, Text, matching


def _web_address(value: str) -> str:
    if not value.startswith(("https://", "http://")) or len(value.split()) != 1:
        raise ValueError("an address begins with https:// or http:// and has no spaces")
    return value


def _digest(length: int) -> tuple[object, ...]:
    return matching(f"[0-9a-f]{{{length}}}", f"a digest of {length} hexadecimal digits in lower case")


Url = Annotated[Text, AfterValidator(_web_address)]


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
