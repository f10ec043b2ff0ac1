"""Describe files that their makers replace by newer ones under the same name, and who says what they are today."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from pipeline.recipes.model.download import Url
from pipeline.recipes.model.fields import Model, Text, matching
from pipeline.recipes.model.source_file import SourceFile


def _folder(value: str) -> str:
    return value if value.endswith("/") else f"{value}/"


Folder = Annotated[Url, AfterValidator(_folder)]
FileName = Annotated[Text, *matching(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,254}", "the name of a file, without folders")]


class ListSignature(Model):
    """The OpenPGP signature of a list of checksums, and the one key that may have made it."""

    file: FileName
    """The detached signature beside the list."""
    fingerprint: Annotated[str, *matching("[0-9A-F]{40}|[0-9A-F]{64}", "a fingerprint in upper case without spaces")]
    """The fingerprint of the key: this is what is trusted, wherever the key itself comes from."""
    key: SourceFile | None = None
    """The public key as a file."""
    key_urls: Annotated[tuple[Url, ...], Field(max_length=8)] = ()
    """Where the public key can be fetched, tried in order."""

    @model_validator(mode="after")
    def _some_key(self) -> Self:
        if self.key is None and not self.key_urls:
            raise ValueError("give key or key_urls")
        return self


class Release(Model):
    """A file that its maker replaces by newer ones under the same name, and the list that says what it is today.

    The list is looked at when the recipe is locked, so a build takes what was there then, or says that it has changed.
    """

    folders: Annotated[tuple[Folder, ...], Field(min_length=1, max_length=16)]
    """The folder that holds the file, on equal servers, tried in order."""
    file: FileName
    """The file's name there."""
    checksums: FileName
    """The name of the list with its SHA-256 or SHA-512, as sha256sum(1) writes it, with or without ``--tag``."""
    signature: ListSignature | None = None
    """Who signs the list."""
    unsigned: Text | None = None
    """Why the list has no signature. Only HTTPS then says whose it is."""

    @model_validator(mode="after")
    def _some_trust(self) -> Self:
        if (self.signature is None) == (self.unsigned is None):
            raise ValueError("give either signature or, where the maker has none, unsigned with the reason")
        plain = [folder for folder in self.folders if not folder.startswith("https://")]
        if self.signature is None and plain:
            raise ValueError(f"a list without a signature is read over HTTPS only: {plain[0]}")
        return self
