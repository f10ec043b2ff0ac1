"""Store images as files.

An object lies as ``<directory>/<name>``, its address is ``file:///<directory>/<name>`` as glance_store writes it. While
it is written it is ``<directory>/.partial.<owner>.<attempt>.<name>``, so that what a killed process left can be
told from what a living one is writing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import urllib.parse
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pipeline.base.owner import Owner
from pipeline.base.urls import without_secrets
from pipeline.imageservice.stores.base import (
    NAME,
    Capabilities,
    DriverContext,
    FoundObject,
    IncompleteObject,
    Reader,
    Space,
    Store,
    StoredObject,
    UnfinishedWrite,
    Writer,
    checked_attempt,
    checked_name,
)
from pipeline.imageservice.stores.errors import BadLocation, ObjectMissing, StoreError, StoreFull, WriteRefused
from pipeline.imageservice.stores.file.directory import Folder
from pipeline.imageservice.stores.file.errors import directory_errors, object_errors
from pipeline.imageservice.stores.file.io import FileReader, FileWriter, file_uri
from pipeline.imageservice.stores.file.options import FileOptions

_PARTIAL = re.compile(r"\.partial\.(?P<owner>[0-9a-f-]+)\.(?P<attempt>[A-Za-z0-9]{8,64})\.(?P<name>.+)")


class FileStore(Store):
    """One or several directories."""

    type = "file"
    schemes: tuple[str, ...] = ("file", "filesystem")

    def __init__(self, options: FileOptions, context: DriverContext | None = None) -> None:
        super().__init__(options.id, description=options.description, weight=options.weight)
        self.options = options
        self._folders = {item.path: Folder(options.id, item) for item in options.directories}
        self.directories = list(self._folders)

    @property
    def capabilities(self) -> Capabilities:
        """Everything; read-only when the settings say so."""
        return Capabilities(writable=not self.options.read_only, holes=self.options.holes, files=True)

    def properties(self) -> dict[str, object]:
        """Return them as the reference names them."""
        return {
            "data_dir": ",".join(map(str, self.directories)),
            "chunk_size": 1 << 20,
            "thin_provisioning": self.options.holes,
        }

    def check(self) -> None:
        """Check that every directory is there (it is made on first use) and, unless read-only, can be written."""
        for folder in self._folders.values():
            folder.check(write=not self.options.read_only)

    def writer(self, name: str, *, size: int | None, attempt: str) -> Writer:
        """See ``Store.writer``."""
        if self.options.read_only:
            raise WriteRefused(f"store {self.id} is read-only")
        directory = self._roomiest(size or 0)
        others = [other for other in self.directories if other != directory]
        folder, temporary = self._folders[directory], directory / _partial(attempt, name)
        return FileWriter(self.options, folder, temporary, directory / name, others, self.find)

    def reader(self, uri: str, *, offset: int = 0, length: int | None = None) -> Reader:
        """See ``Store.reader``."""
        path = self._path(uri)
        with self._object_errors(path):
            _regular(path)
            raw = path.open("rb", buffering=0)
        try:
            size = os.fstat(raw.fileno()).st_size
            length = size - offset if length is None else length
            if offset < 0 or length < 0 or offset + length > size:
                raise ValueError(f"bytes {offset} to {offset + length} do not lie in an object of {size}")
            raw.seek(offset)
            return FileReader(self.id, path, raw, length)
        except BaseException:
            raw.close()
            raise

    def location(self, uri: str) -> tuple[int, str]:
        """Return which of the directories, counted from 0, an object lies in, and its file's name. Raises
        ``BadLocation``.
        """
        path = self._path(uri)
        return self.directories.index(path.parent), path.name

    def size(self, uri: str) -> int:
        """See ``Store.size``."""
        path = self._path(uri)
        with self._object_errors(path):
            return _regular(path).st_size

    def delete(self, uri: str) -> None:
        """See ``Store.delete``."""
        path = self._path(uri)
        with self._object_errors(path):
            path.unlink()

    def find(self, name: str) -> StoredObject | None:
        """See ``Store.find``."""
        for directory in self.directories:
            path = directory / checked_name(name)
            with directory_errors(self.id, path), contextlib.suppress(FileNotFoundError):
                return StoredObject(file_uri(path), _regular(path).st_size)
            self._require_exists(path)
        return None

    def validate(self, uri: str) -> None:
        """See ``Store.validate``."""
        self._path(uri)

    def canonical(self, uri: str) -> str:
        """See ``Store.canonical``."""
        return file_uri(self._path(uri))

    def identify(self, uri: str) -> str:
        """See ``Store.identify``: the directory, with links on the way to it resolved, and the file's name."""
        path = self._path(uri)
        return _identity(path.parent, path.name)

    def identities(self, name: str) -> tuple[str, ...]:
        """See ``Store.identities``."""
        return tuple(dict.fromkeys(_identity(directory, checked_name(name)) for directory in self.directories))

    def objects(self) -> Iterator[FoundObject]:
        """See ``Store.objects``. Only regular files with names an object may have."""
        for directory in self.directories:
            for entry in self._entries(directory):
                if NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    with contextlib.suppress(FileNotFoundError):
                        found = entry.stat(follow_symlinks=False)
                        stored = StoredObject(file_uri(Path(entry.path)), found.st_size)
                        yield FoundObject(entry.name, stored, datetime.fromtimestamp(found.st_mtime, UTC))

    def incomplete(self) -> Iterator[IncompleteObject]:
        """See ``Store.incomplete``."""
        for directory in self.directories:
            for entry in self._entries(directory):
                match = _PARTIAL.fullmatch(entry.name)
                if match is None:
                    continue
                with contextlib.suppress(FileNotFoundError):
                    modified = datetime.fromtimestamp(entry.stat(follow_symlinks=False).st_mtime, UTC)
                    yield IncompleteObject(match["name"], match["attempt"], entry.path, modified)

    def discard(self, what: IncompleteObject) -> None:
        """See ``Store.discard``."""
        path = self._partial_path(what)
        with directory_errors(self.id, path):
            path.unlink(missing_ok=True)

    def take_over(self, what: IncompleteObject, *, attempt: str, name: str) -> UnfinishedWrite | None:
        """See ``Store.take_over``: the file gets the new attempt's name.

        The last byte is left to the writer: who goes on has to have something to go on with.
        """
        old = self._partial_path(what)
        new, others = (
            old.with_name(_partial(attempt, name)),
            [one for one in self.directories if one != old.parent],
        )
        with directory_errors(self.id, old):
            try:
                old.rename(new)
            except FileNotFoundError:
                return None
            raw = new.open("rb", buffering=0)
            length = max(0, os.fstat(raw.fileno()).st_size - 1)
        folder = self._folders[old.parent]
        writer = FileWriter(self.options, folder, new, old.parent / name, others, self.find, length)
        return UnfinishedWrite(FileReader(self.id, new, raw, length), writer)

    def space(self) -> Space:
        """Sum up the file systems the directories are on."""
        total = free = 0
        devices = set()
        for directory in self.directories:
            with self._folders[directory].opened() as descriptor, directory_errors(self.id, directory):
                device = os.fstat(descriptor).st_dev
                if device not in devices:
                    devices.add(device)
                    room = os.fstatvfs(descriptor)
                    total += room.f_blocks * room.f_frsize
                    free += room.f_bavail * room.f_frsize
        return Space(total, free)

    def _partial_path(self, what: IncompleteObject) -> Path:
        path = Path(what.key)
        if path.parent not in self.directories or not _PARTIAL.fullmatch(path.name):
            raise ValueError(f"not an unfinished write of this store: {what.key}")
        return path

    def _entries(self, directory: Path) -> list[os.DirEntry[str]]:
        with self._folders[directory].opened(), directory_errors(self.id, directory), os.scandir(directory) as entries:
            return list(entries)

    @contextlib.contextmanager
    def _object_errors(self, path: Path) -> Iterator[None]:
        """As ``object_errors``; but an object whose directory is not what it should be is not missing."""
        try:
            with object_errors(self.id, path):
                yield
        except ObjectMissing:
            self._require_exists(path)
            raise

    def _require_exists(self, path: Path) -> None:
        with self._folders[path.parent].opened():
            return

    def _roomiest(self, size: int) -> Path:
        """Return the directory to write ``size`` bytes to: of the greatest weight that has the room, the emptiest."""
        best: tuple[int, int] | None = None
        chosen, fault = None, None
        for item in self.options.directories:
            try:
                folder = self._folders[item.path]
                with folder.opened(write=True) as descriptor, directory_errors(self.id, item.path):
                    folder.require_unbroken(descriptor)
                    room = os.fstatvfs(descriptor)
            except StoreError as error:
                fault = error
                continue
            free = room.f_bavail * room.f_frsize
            if free > size and (best is None or (item.weight, free) > best):
                best, chosen = (item.weight, free), item.path
        if chosen is not None:
            return chosen
        raise fault or StoreFull(f"store {self.id} has no room for {size} bytes")

    def _path(self, uri: str) -> Path:
        """Return the file an address means; it has to lie directly in one of the directories."""
        parts = urllib.parse.urlsplit(uri)
        # glance_store writes paths unquoted and reads them so, hence no unquoting here.
        path = Path(parts.netloc + parts.path)
        plain = not parts.query and not parts.fragment and NAME.fullmatch(path.name)
        if parts.scheme not in self.schemes or not plain or path.parent not in self.directories:
            raise BadLocation(f"not a location of store {self.id}", detail=without_secrets(uri)[:500])
        return path


def _identity(directory: Path, name: str) -> str:
    return f"file:{directory.resolve()}/{name}"


def _partial(attempt: str, name: str) -> str:
    """Return what the file of an unfinished write of this process is called."""
    return f".partial.{Owner.current().mark}.{checked_attempt(attempt)}.{checked_name(name)}"


def _regular(path: Path) -> os.stat_result:
    """Return the state of a regular file; anything else (a link, a device) counts as missing."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return found
