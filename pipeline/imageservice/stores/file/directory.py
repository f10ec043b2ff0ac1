"""Look after one directory of a file store, as operators run them on network file systems.

Where a mount is expected (``mount`` in the settings), a marker file tells the file system that belongs there from
whatever else could be in its place: the empty folder below a mount that has gone, or another export. Files are created
in a directory that was opened and looked at, so nothing is ever written to the local disk instead. After a write that
failed for a reason of the file system's, the directory takes no more until a trial write has succeeded.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from pipeline.base import json_text
from pipeline.base.owner import Owner
from pipeline.imageservice.stores.errors import StoreSilent, WriteRefused
from pipeline.imageservice.stores.file.errors import directory_errors
from pipeline.imageservice.stores.file.options import FileDirectory

log = logging.getLogger("imageservice.stores")

MARKER = ".image-store"
_PAUSE = 2.0  # seconds between trial writes
# The file system's own faults, after which there is no sense in trying every write.
_BROKEN = {
    errno.EIO,
    errno.ESTALE,
    errno.EROFS,
    errno.ENXIO,
    errno.ENODEV,
    errno.ENOTCONN,
    errno.EREMOTEIO,
    errno.ETIMEDOUT,
    errno.EXDEV,
}


class Folder:
    """One directory of the store with the id ``store``. May be used by many threads."""

    def __init__(self, store: str, options: FileDirectory) -> None:
        self.path, self.weight = options.path, options.weight
        self._store, self._mount = store, options.mount
        self._lock = threading.Lock()
        self._marker: str | None = None
        self._device: int | None = None
        self._broken: str | None = None
        self._tried = 0.0

    def check(self, *, write: bool) -> None:
        """Check that the directory is there (it is made on first use) and is the right one; with ``write``, that it
        takes writes.

        Raises ``StoreUnavailable``, ``WriteRefused``.
        """
        with directory_errors(self._store, self.path):
            if write and self._mount is None and not self.path.exists():
                self.path.mkdir(mode=0o750, parents=True, exist_ok=True)
        with self.opened(write=write) as descriptor:
            if write and not os.access(self.path, os.W_OK | os.X_OK):
                raise WriteRefused(f"store {self._store} cannot be written", detail=f"{self.path} is not writable")
            if write:
                self.require_unbroken(descriptor)

    @contextlib.contextmanager
    def opened(self, *, write: bool = False) -> Iterator[int]:
        """Open a descriptor of the directory, which is the right one. Raises as ``check``.

        With ``write`` a marker is made where there was none yet.
        """
        if write and self._mount is not None:
            self._make_below_mount()
        with directory_errors(self._store, self.path):
            try:
                descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except (FileNotFoundError, NotADirectoryError):
                if self._mount is None:
                    raise
                raise self._not_mounted(self._mount, "is not there") from None
        try:
            if self._mount is not None:
                self._require_marker(descriptor, write)
            yield descriptor
        finally:
            os.close(descriptor)

    def create(self, name: str) -> int:
        """Create a file in the directory; return its descriptor. Raises as ``check``."""
        with self.opened(write=True) as descriptor:
            self.require_unbroken(descriptor)
            with self.writing():
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
                return os.open(name, flags, 0o600, dir_fd=descriptor)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turn errors of writing to the directory into the store's; some of them make it read-only."""
        with directory_errors(self._store, self.path):
            try:
                yield
            except OSError as error:
                if error.errno in _BROKEN:
                    self._break(error)
                raise

    def _break(self, error: OSError) -> None:
        with self._lock:
            if self._broken is None:
                log.error("store %s: %s takes no writes for now: %s", self._store, self.path, error.strerror)
            self._broken, self._tried = str(error.strerror), time.monotonic()

    def require_unbroken(self, descriptor: int) -> None:
        """Raise ``WriteRefused`` after a failed write, until a trial write succeeds; at most one trial in a while."""
        with self._lock:
            if self._broken is None:
                return
            due = time.monotonic() - self._tried > _PAUSE
            self._tried = time.monotonic() if due else self._tried
        if due:
            try:
                _try_write(descriptor)
            except OSError as error:
                self._break(error)
            else:
                with self._lock:
                    self._broken = None
                log.warning("store %s: %s takes writes again", self._store, self.path)
                return
        raise WriteRefused(
            f"store {self._store} is read-only after a failed write", detail=f"{self.path}: {self._broken}"
        )

    def _make_below_mount(self) -> None:
        """Make the directory, but only while its file system is mounted."""
        with directory_errors(self._store, self.path):
            if self._mount is not None and os.path.ismount(self._mount) and not self.path.exists():
                self.path.mkdir(mode=0o750, parents=True, exist_ok=True)

    def _require_marker(self, descriptor: int, write: bool) -> None:
        with directory_errors(self._store, self.path):
            device = os.fstat(descriptor).st_dev
            found = _read_marker(descriptor)
            if found is None and write and self._marker is None and self._is_mounted(device):
                found = _write_marker(descriptor, self._store)
        if found is None or found[0] != self._store or (self._marker or found[1]) != found[1]:
            assert self._mount is not None  # noqa: S101 - nobody else asks for a marker
            raise self._not_mounted(self._mount, f"has no marker of this store ({MARKER})")
        if self._device not in (None, device):
            log.warning("store %s: %s was mounted anew", self._store, self.path)
        self._marker, self._device = found[1], device

    def _not_mounted(self, mount: Path, why: str) -> StoreSilent:
        """Return the error for a directory that is not the one below ``mount``; the key's value and the way out."""
        with directory_errors(self._store, self.path):
            if not mount.exists():
                found = f"mount: {mount} does not exist"
            elif not os.path.ismount(mount):
                found = f"mount: nothing is mounted at {mount}"
            else:
                found = f"mount: what is mounted at {mount} is not this store's: {self.path} {why}"
        return StoreSilent(
            f"store {self._store} is not mounted",
            detail=f"directories of store {self._store}, {found}; mount what belongs there, "
            "or leave `mount` out of the settings if the directory lies on this machine's own disk",
        )

    def _is_mounted(self, device: int) -> bool:
        """Whether the open directory lies on what is mounted at the mount point now."""
        mount = self._mount
        return mount is not None and os.path.ismount(mount) and mount.stat().st_dev == device


def _read_marker(directory: int) -> tuple[str, str] | None:
    """Return the store and the number that a directory's marker has."""
    try:
        with open(os.open(MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)) as file:  # noqa: PTH123
            content = json_text.loads(file.read(4096))
        return str(content["store"]), str(content["number"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return "", ""


def _write_marker(directory: int, store: str) -> tuple[str, str] | None:
    """Mark a directory. Where several do it at once, one wins and all take its marker."""
    temporary, number = f".partial.{Owner.current().mark}.{uuid.uuid4().hex}.marker", uuid.uuid4().hex
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=directory)
    try:
        with open(descriptor, "w") as file:  # noqa: PTH123
            json.dump({"store": store, "number": number}, file)
            file.flush()
            os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, MARKER, src_dir_fd=directory, dst_dir_fd=directory)
    finally:
        os.unlink(temporary, dir_fd=directory)
    return _read_marker(directory)


def _try_write(directory: int) -> None:
    """Write, sync and remove a file; should this process die meanwhile, it is found as an unfinished write."""
    name = f".partial.{Owner.current().mark}.{uuid.uuid4().hex}.trial"
    descriptor = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        os.write(descriptor, b"x")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
        os.unlink(name, dir_fd=directory)
