"""Write and read objects of a file store."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import BinaryIO, cast

from pipeline.imageservice.stores.base import Reader, StoredObject, Writer
from pipeline.imageservice.stores.errors import ObjectExists, StoreDamaged
from pipeline.imageservice.stores.file.directory import Folder
from pipeline.imageservice.stores.file.errors import object_errors
from pipeline.imageservice.stores.file.holes import runs
from pipeline.imageservice.stores.file.options import FileOptions
from pipeline.imageservice.stores.file.writeback import WriteBack

_FICLONE = 0x40049409  # ioctl_ficlone(2)
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class FileWriter(Writer):
    """Writes ``temporary``, then links or renames it to ``target``; both lie in one directory, ``folder``.

    ``taken`` tells whether the store holds an object of a name already, ``others`` are its further directories. With an
    ``offset`` the temporary file is there, and holds so many bytes.
    """

    def __init__(
        self,
        options: FileOptions,
        folder: Folder,
        temporary: Path,
        target: Path,
        others: list[Path],
        taken: Callable[[str], object],
        offset: int | None = None,
    ) -> None:
        self._options, self._folder, self._temporary, self._target = options, folder, temporary, target
        self._others, self._taken = others, taken
        if offset is None:
            self._descriptor = folder.create(temporary.name)
        else:
            with folder.writing():
                self._descriptor = os.open(temporary, os.O_WRONLY | os.O_CLOEXEC)
        self._offset = offset or 0
        self._writeback = WriteBack(self._descriptor, keep_cached=options.keep_cached)
        self._identity: tuple[int, int] | None = None

    def write(self, data: memoryview) -> None:
        """See ``Writer.write``."""
        with self._folder.writing():
            for start, end in runs(data) if self._options.holes else [(0, len(data))]:
                _write_all(self._descriptor, data[start:end], self._offset + start)
            self._offset += len(data)
            self._writeback.written(self._offset)

    def hole(self, length: int) -> None:
        """See ``Writer.hole``."""
        if self._options.holes:
            self._offset += length
        else:
            super().hole(length)

    def clone(self, file: BinaryIO, length: int) -> bool:
        """See ``Writer.clone``."""
        if self._offset or file.tell() or os.fstat(file.fileno()).st_size != length:
            return False
        try:
            fcntl.ioctl(self._descriptor, _FICLONE, file.fileno())
        except OSError:
            return False
        self._offset = length
        return True

    def commit(self, *, replace: bool = False) -> StoredObject:
        """See ``Writer.commit``."""
        with self._folder.writing():
            os.ftruncate(self._descriptor, self._offset)  # a hole at the end was never written
            os.fchmod(self._descriptor, self._options.file_mode)
            os.fsync(self._descriptor)
            if replace:
                self._replace()
            else:
                self._appear()
            found = os.fstat(self._descriptor)
            self._identity = (found.st_dev, found.st_ino)
            self._close()
            _fsync_directory(self._target.parent)
        return StoredObject(file_uri(self._target), self._offset)

    def abort(self) -> None:
        """See ``Writer.abort``."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                self._temporary.unlink()
            self._close()

    def leave(self) -> None:
        """See ``Writer.leave``."""
        if self._descriptor >= 0:
            self._close()

    def undo(self) -> None:
        """See ``Writer.undo``."""
        with object_errors(self._options.id, self._target), contextlib.suppress(FileNotFoundError):
            found = self._target.lstat()
            if self._identity == (found.st_dev, found.st_ino):
                self._target.unlink()

    def _appear(self) -> None:
        """link(2) fails when the name is taken, rename(2) would not."""
        if self._taken(self._target.name):
            raise ObjectExists(f"store {self._options.id} holds an image of this id already")
        try:
            os.link(self._temporary, self._target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self._temporary.rename(self._target)
        else:
            self._temporary.unlink()

    def _replace(self) -> None:
        self._temporary.replace(self._target)
        for directory in self._others:
            (directory / self._target.name).unlink(missing_ok=True)

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1


class FileReader(Reader):
    """Reads an open file; a file that has become shorter is damage, not an end."""

    def __init__(self, store: str, path: Path, raw: FileIO, length: int) -> None:
        self._store, self._path, self._raw = store, path, raw
        self.file, self.length = cast(BinaryIO, raw), length
        self._left = length

    def read(self, size: int) -> bytes:
        """See ``Reader.read``."""
        with object_errors(self._store, self._path):
            data = self._raw.read(min(size, self._left))
        self._took(len(data))
        return data

    def readinto(self, view: memoryview) -> int:
        """See ``Reader.readinto``."""
        with object_errors(self._store, self._path):
            count = self._raw.readinto(view[: self._left])
        self._took(count)
        return count

    def hole(self, limit: int) -> int:
        """See ``Reader.hole``."""
        here = self._raw.tell()
        try:
            data = os.lseek(self._raw.fileno(), here, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # not a file system that tells
                return 0
            data = here + self._left  # nothing but a hole up to the end
            if os.fstat(self._raw.fileno()).st_size < data:
                data = here
        count = min(data - here, self._left, limit)
        self._raw.seek(here + count)
        self._left -= count
        return count

    def close(self) -> None:
        """See ``Reader.close``."""
        self._raw.close()

    def _took(self, count: int) -> None:
        if count == 0 and self._left > 0:
            raise StoreDamaged(f"store {self._store} holds less of this image than it should")
        self._left -= count


def file_uri(path: Path) -> str:
    """Return the address of a file, unquoted as glance_store has it."""
    return f"file://{path}"


def _write_all(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        count = os.pwrite(descriptor, data, offset)
        data, offset = data[count:], offset + count


def _fsync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
