"""Read the metadata of a repository of RPM packages: which packages and groups it has.

Format: createrepo_c's ``repodata`` folder; ``repomd.xml`` names the files with their digests, ``primary`` lists the
packages, ``group`` (comps) the groups and environments. All of it comes from outside and is bounded.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.base.errors import PipelineError


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...

    def close(self) -> None: ...


LARGEST = 512 << 20  # of a file once it is unpacked: all of a large distribution's primary is a fifth of that
_OPENERS: Mapping[bytes, Callable[[io.BytesIO], _Readable]] = {
    b"\x1f\x8b": lambda packed: gzip.GzipFile(fileobj=packed),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}


class RepositoryLocation(Protocol):
    """Where a repository is: a folder on a medium, or on a server."""

    def read(self, path: str) -> bytes | None:
        """Return a file below it, or ``None`` when there is none."""


@dataclass(frozen=True)
class Repodata:
    """What a repository offers. ``provides`` are names that packages answer to in addition to their own.

    ``groups`` and ``environments``: id → names they are known by, the id among them.
    """

    packages: frozenset[str] = frozenset()
    provides: frozenset[str] = frozenset()
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)
    environments: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, location: RepositoryLocation) -> Repodata:
        """Read a repository's metadata. Raises ``PipelineError`` when it is missing, damaged or absurd."""
        index = location.read("repodata/repomd.xml")
        if index is None:
            raise PipelineError("there is no repodata/repomd.xml: this is no repository of packages")
        files = dict(_files(index))
        if "primary" not in files:
            raise PipelineError("repomd.xml names no list of packages")
        packages, provides = _packages(_fetched(location, *files["primary"]))
        groups, environments = _groups(_fetched(location, *files["group"])) if "group" in files else ({}, {})
        return cls(frozenset(packages), frozenset(provides), groups, environments)

    @classmethod
    def together(cls, parts: Iterable[Repodata]) -> Repodata:
        """Return what several repositories offer."""
        every = list(parts)
        return cls(
            frozenset().union(*(each.packages for each in every)),
            frozenset().union(*(each.provides for each in every)),
            {name: names for each in every for name, names in each.groups.items()},
            {name: names for each in every for name, names in each.environments.items()},
        )

    def has_group(self, name: str) -> bool:
        """Return whether a group or environment is known by ``name``, in any of its spellings."""
        folded = name.casefold()
        both = (*self.groups.values(), *self.environments.values())
        return any(folded in names for names in both)


def _files(index: bytes) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Kind → (path, kind of digest, digest)."""
    for data in _elements(io.BytesIO(index), "data"):
        location = next((each.get("href") for each in data if _local(each) == "location"), None)
        checksum = next((each for each in data if _local(each) == "checksum"), None)
        if location and not location.startswith("/") and ".." not in location.split("/"):
            kind = "" if checksum is None else (checksum.get("type") or "")
            yield data.get("type") or "", (location, kind, "" if checksum is None else (checksum.text or "").strip())


def _fetched(location: RepositoryLocation, path: str, kind: str, digest: str) -> _Bounded:
    data = location.read(path)
    if data is None:
        raise PipelineError(f"repomd.xml names {path}, but there is no such file")
    # "sha" is how older tools spell SHA-1.
    kind = {"sha": "sha1"}.get(kind, kind)
    if kind in ("sha1", "sha256", "sha512") and hashlib.new(kind, data, usedforsecurity=False).hexdigest() != digest:
        raise PipelineError(f"{path} is damaged: it has another {kind} than repomd.xml says")
    opener = next((opener for magic, opener in _OPENERS.items() if data.startswith(magic)), None)
    return _Bounded(io.BytesIO(data) if opener is None else opener(io.BytesIO(data)), path)


def _packages(source: _Readable) -> tuple[set[str], set[str]]:
    packages, provides = set(), set()
    for package in _elements(source, "package"):
        for each in package.iter():
            match _local(each):
                case "name" if each.text:
                    packages.add(each.text)
                case "entry" | "file":
                    provides.add(each.get("name") or (each.text or ""))
        package.clear()
    return packages, provides


def _groups(source: _Readable) -> tuple[dict[str, frozenset[str]], dict[str, frozenset[str]]]:
    groups: dict[str, frozenset[str]] = {}
    environments: dict[str, frozenset[str]] = {}
    for each in _elements(source, "group", "environment"):
        names = [child.text for child in each if _local(child) in ("id", "name") and child.text]
        own = next((child.text for child in each if _local(child) == "id" and child.text), None)
        if own:
            target = groups if _local(each) == "group" else environments
            target[own] = frozenset(name.casefold() for name in names)
    return groups, environments


def _elements(source: _Readable, *names: str) -> Iterator[ElementTree.Element]:
    """Each whole element of one of these names. Raises ``PipelineError`` for what is no XML."""
    try:
        for _, element in ElementTree.iterparse(source, events=("end",)):  # noqa: S314 - expat bounds entities
            if _local(element) in names:
                yield element
    except (ElementTree.ParseError, OSError, EOFError, lzma.LZMAError, zlib.error, ValueError) as error:
        raise PipelineError(f"the repository's metadata cannot be read: {error}") from None


def _local(element: ElementTree.Element) -> str:
    return str(element.tag).rpartition("}")[2]


class _Bounded:
    """Reads on from a stream that may be packed, up to a limit."""

    def __init__(self, source: _Readable, name: str) -> None:
        self._source = source
        self._name = name
        self._left = LARGEST

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(min(size, 1 << 20) if size > 0 else 1 << 20)
        self._left -= len(data)
        if self._left < 0:
            raise PipelineError(f"{self._name} is more than {LARGEST >> 20} MiB long when unpacked")
        return data

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._source.close()
