"""Turn what S3 servers answer into a store's own errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from urllib3.exceptions import HTTPError

from pipeline.imageservice.stores.errors import (
    ObjectExists,
    ObjectMissing,
    StoreError,
    StoreFull,
    StoreSilent,
    StoreUnavailable,
    WriteRefused,
)

_MISSING = {"NoSuchKey", "404", "NotFound", "NoSuchVersion"}
_TAKEN = {"PreconditionFailed", "412"}
_FULL = {"QuotaExceeded", "InsufficientStorage", "EntityTooLarge", "507"}
_REFUSED = {"AccessDenied", "403", "SignatureDoesNotMatch", "InvalidAccessKeyId", "Forbidden", "AllAccessDisabled"}


@contextlib.contextmanager
def s3_errors(store: str, *, writing: bool = False) -> Iterator[None]:
    """Turn errors of boto3 into those of the store with that id, while the block uses it."""
    try:
        yield
    except ClientError as error:
        raise _error(store, error, writing) from error
    except (BotoCoreError, HTTPClientError, HTTPError, OSError) as error:
        raise StoreSilent(f"store {store} does not answer", detail=_line(error)) from error


@contextlib.contextmanager
def body_errors(store: str) -> Iterator[None]:
    """Turn a break in an answer's body into the back end's error, whichever layer reports it."""
    try:
        yield
    except (
        IncompleteReadError,
        ReadTimeoutError,
        ResponseStreamingError,
        BotoCoreError,
        HTTPError,
        OSError,
    ) as error:
        raise StoreUnavailable(f"store {store} broke off while sending", detail=_line(error)) from error


def code(error: ClientError) -> str:
    """Return the server's word for what is wrong: ``NoSuchKey``, or a status where an answer has no body."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _error(store: str, error: ClientError, writing: bool) -> StoreError:
    name, detail = code(error), _line(error)
    if name in _MISSING:
        return ObjectMissing(f"store {store} does not hold this image", detail=detail)
    if name in _TAKEN:
        return ObjectExists(f"store {store} holds an image of this id already", detail=detail)
    if name in _FULL:
        return StoreFull(f"store {store} is full", detail=detail)
    if name in _REFUSED:
        kind = WriteRefused if writing else StoreUnavailable
        return kind(f"store {store} refuses access", detail=detail)
    return StoreUnavailable(f"store {store} has a fault", detail=detail)


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]
