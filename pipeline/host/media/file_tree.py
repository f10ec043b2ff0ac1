"""Describe a file system's contents before it is made: who owns what, without being root here.

File systems are written from it sorted, with one time for everything, so that equal contents give equal bytes.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class TreeEntry:
    """One entry. ``mode`` has the type's bits too; ``content`` is a file's bytes, the file to take them from, or

    a link's target as text.
    """

    path: PurePosixPath
    mode: int
    uid: int = 0
    gid: int = 0
    content: bytes | Path | str = b""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self.mode)


class FileTree:
    """Entries by path. Paths are absolute in the tree's file system; folders above an entry are added as needed."""

    def __init__(self) -> None:
        self._nodes: dict[PurePosixPath, TreeEntry] = {}

    def add_folder(self, path: str, mode: int = 0o755, *, uid: int = 0, gid: int = 0) -> None:
        """Add a folder; one that is there takes the new mode and owner."""
        self._add(TreeEntry(_absolute(path), stat.S_IFDIR | mode, uid, gid))

    def add_file(self, path: str, content: bytes | Path, mode: int = 0o644, *, uid: int = 0, gid: int = 0) -> None:
        """Add a file, or replace it."""
        self._add(TreeEntry(_absolute(path), stat.S_IFREG | mode, uid, gid, content))

    def add_link(self, path: str, target: str) -> None:
        """Add a symbolic link, or replace it."""
        self._add(TreeEntry(_absolute(path), stat.S_IFLNK | 0o777, content=target))

    def add_host_tree(self, folder: Path, at: str = "/") -> None:
        """Add the files below ``folder`` of our own sources: those that begin with ``#!`` can be run, others not."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                content = file.read_bytes()
                self.add_file(f"{at}/{file.relative_to(folder)}", content, 0o755 if content[:2] == b"#!" else 0o644)

    def __contains__(self, path: str) -> bool:
        return _absolute(path) in self._nodes

    def __iter__(self) -> Iterator[TreeEntry]:
        """All entries, sorted, a folder before what it holds."""
        return iter(sorted(self._nodes.values(), key=lambda node: node.path.parts))

    def _add(self, node: TreeEntry) -> None:
        for parent in node.path.parents:
            if parent != PurePosixPath("/") and parent not in self._nodes:
                self._nodes[parent] = TreeEntry(parent, stat.S_IFDIR | 0o755)
        self._nodes[node.path] = node


def _absolute(path: str) -> PurePosixPath:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or any(ord(character) < 32 for character in path):
        raise ValueError(f"not a plain path: {path!r}")
    return PurePosixPath("/", *parts)
