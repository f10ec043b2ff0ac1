"""Write initial RAM file systems in the kernel's "newc" format, without root and the same on every run.

Format: Documentation/driver-api/early-userspace/buffer-format.rst in the kernel's source.
"""

from __future__ import annotations

import stat
from pathlib import PurePosixPath

_TRAILER = "TRAILER!!!"


class Archive:
    """A cpio archive in memory. Paths are relative; the folders above a path are added as needed.

    All entries belong to root and carry no time, so that equal contents give equal bytes.
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._names: set[str] = set()

    def add_folder(self, path: str, mode: int = 0o755) -> None:
        """Add a folder, unless it is there."""
        if path not in self._names:
            self._add(path, stat.S_IFDIR | mode, b"")

    def add_file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Add a file."""
        self._add(path, stat.S_IFREG | mode, data)

    def add_link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._add(path, stat.S_IFLNK | 0o777, target.encode())

    def finish(self) -> bytes:
        """Return the whole archive, uncompressed (the kernel also takes it compressed with gzip or xz)."""
        return b"".join((*self._parts, trailer()))

    def _add(self, path: str, mode: int, data: bytes) -> None:
        parent = str(PurePosixPath(path).parent)
        if parent != ".":
            self.add_folder(parent)
        if path in self._names:
            raise ValueError(f"{path} is in the archive already")
        self._names.add(path)
        self._parts.append(entry(len(self._names), path, mode, data))


def trailer() -> bytes:
    """Return what ends an archive."""
    return entry(0, _TRAILER, 0, b"")


def entry(
    inode: int,
    path: str,
    mode: int,
    data: bytes,
    *,
    owner: tuple[int, int] = (0, 0),
    device: tuple[int, int] = (0, 0),
) -> bytes:
    """Return one entry: ``mode`` with its file type, ``owner`` as user and group, ``device`` as major and minor
    number.
    """
    name = path.encode(errors="surrogateescape") + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    #         inode, mode, uid, gid, links, mtime, size, file's device, device, name's length, checksum
    numbers = (inode, mode, *owner, links, 0, len(data), 0, 0, *device, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % number for number in numbers)
    return _padded(header + name) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
