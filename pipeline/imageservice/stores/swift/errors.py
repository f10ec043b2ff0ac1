"""Turn what Swift and Keystone answer into a store's own errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keystoneauth1.exceptions
import requests
import swiftclient
import urllib3

from pipeline.imageservice.stores.errors import (
    ObjectExists,
    ObjectMissing,
    StoreError,
    StoreFull,
    StoreSilent,
    StoreUnavailable,
    WriteRefused,
)


@contextlib.contextmanager
def swift_errors(store: str, *, writing: bool = False) -> Iterator[None]:
    """Turn errors of swiftclient and of logging in into those of the store with that id, while the block uses it."""
    try:
        yield
    except swiftclient.ClientException as error:
        raise _error(store, error, writing) from error
    except keystoneauth1.exceptions.ClientException as error:
        status = getattr(error, "http_status", None)
        if status in (401, 403):
            raise StoreUnavailable(f"store {store} refuses access", detail=_line(error)) from error
        raise StoreSilent(f"store {store} does not answer", detail=_line(error)) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise StoreSilent(f"store {store} does not answer", detail=_line(error)) from error


def _error(store: str, error: swiftclient.ClientException, writing: bool) -> StoreError:
    detail = _line(error)
    match error.http_status:
        case 404:
            return ObjectMissing(f"store {store} does not hold this image", detail=detail)
        case 412:
            return ObjectExists(f"store {store} holds an image of this id already", detail=detail)
        case 413 | 507:
            return StoreFull(f"store {store} is full", detail=detail)
        case 401 | 403:
            kind = WriteRefused if writing else StoreUnavailable
            return kind(f"store {store} refuses access", detail=detail)
    return StoreUnavailable(f"store {store} does not answer as it should", detail=detail)


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]
