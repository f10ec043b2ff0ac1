"""Turn errors of librbd and librados into a store's own."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

import rados
import rbd

from pipeline.imageservice.stores.errors import (
    ObjectExists,
    ObjectInUse,
    ObjectMissing,
    StoreError,
    StoreFull,
    StoreSilent,
    StoreUnavailable,
    WriteRefused,
)

_FULL = {errno.ENOSPC, errno.EDQUOT}
_SILENT = {errno.ETIMEDOUT, errno.ENOTCONN, errno.ECONNREFUSED, errno.ESHUTDOWN}
_REFUSED = {errno.EPERM, errno.EACCES, errno.EROFS}


@contextlib.contextmanager
def rbd_errors(store: str, *, writing: bool = False) -> Iterator[None]:
    """Turn errors of the cluster into those of the store with that id, while the block uses it."""
    try:
        yield
    except rbd.ImageNotFound as error:
        raise ObjectMissing(f"store {store} does not hold this image", detail=_line(error)) from error
    except rbd.ImageExists as error:
        raise ObjectExists(f"store {store} holds an image of this id already", detail=_line(error)) from error
    except (rbd.ImageBusy, rbd.ImageHasSnapshots) as error:
        raise ObjectInUse(f"the image is in use in store {store}", detail=_line(error)) from error
    except (rbd.Error, rados.Error) as error:
        raise failure(store, abs(getattr(error, "errno", 0) or 0), _line(error), writing=writing) from error


def failure(store: str, number: int, detail: str, *, writing: bool = False) -> StoreError:
    """Return the error for what the operating system calls ``number``."""
    if number in _FULL:
        return StoreFull(f"store {store} is full", detail=detail)
    if number in _REFUSED:
        refused = WriteRefused if writing else StoreUnavailable
        return refused(f"store {store} refuses access", detail=detail)
    explained = f"{detail} ({os.strerror(number)})" if number else detail
    kind = StoreSilent if number in _SILENT else StoreUnavailable
    return kind(f"store {store} does not answer as it should", detail=explained)


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]
