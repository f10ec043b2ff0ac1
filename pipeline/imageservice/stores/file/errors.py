"""Turn errors of the operating system into a file store's own."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from pipeline.imageservice.stores.errors import (
    ObjectExists,
    ObjectMissing,
    StoreError,
    StoreFull,
    StoreUnavailable,
    WriteRefused,
)

_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}


@contextlib.contextmanager
def object_errors(store: str, path: Path) -> Iterator[None]:
    """Turn errors of handling one object of the store with that id: a missing file is a missing object."""
    try:
        yield
    except OSError as error:
        if error.errno in _GONE:
            raise ObjectMissing(f"store {store} does not hold this image", detail=_detail(error, path)) from error
        raise _error(store, error, path) from error


@contextlib.contextmanager
def directory_errors(store: str, path: Path) -> Iterator[None]:
    """Turn errors of handling the store itself: a missing directory is a fault of the store."""
    try:
        yield
    except OSError as error:
        raise _error(store, error, path) from error


def _error(store: str, error: OSError, path: Path) -> StoreError:
    detail = _detail(error, path)
    if error.errno in _FULL:
        return StoreFull(f"store {store} is full", detail=detail)
    if error.errno in _REFUSED:
        return WriteRefused(f"store {store} refuses access", detail=detail)
    if error.errno == errno.EEXIST:
        return ObjectExists(f"store {store} holds an image of this id already", detail=detail)
    return StoreUnavailable(f"store {store} has a fault", detail=detail)


def _detail(error: OSError, path: Path) -> str:
    return f"{path}: {error.strerror}"
