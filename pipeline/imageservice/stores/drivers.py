"""Every back end there is: its options, and its driver, which is imported only where such a store is configured."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from pipeline.base.errors import PipelineError
from pipeline.imageservice.stores.cinder_options import CinderOptions
from pipeline.imageservice.stores.http_options import HttpOptions
from pipeline.imageservice.stores.options import FileOptions, StoreOptions
from pipeline.imageservice.stores.pieces import Budget, Share, Unlimited
from pipeline.imageservice.stores.rbd_options import RbdOptions
from pipeline.imageservice.stores.s3_options import S3Options
from pipeline.imageservice.stores.store import Store
from pipeline.imageservice.stores.swift_options import SwiftOptions


def _kind(options: Any) -> Any:
    """The kind of store that settings mean; a file store needs not say so."""
    if isinstance(options, StoreOptions):
        return getattr(options, "type", None)
    return options.get("type", "file") if isinstance(options, dict) else "file"


# One more back end is one more member here and one more line below.
AnyStoreOptions = Annotated[
    Annotated[FileOptions, Tag("file")]
    | Annotated[S3Options, Tag("s3")]
    | Annotated[SwiftOptions, Tag("swift")]
    | Annotated[RbdOptions, Tag("rbd")]
    | Annotated[HttpOptions, Tag("http")]
    | Annotated[CinderOptions, Tag("cinder")],
    Discriminator(_kind, custom_error_type="store_type", custom_error_message="type: there is no such kind of store"),
]
_DRIVERS = {
    "file": "file.FileStore",
    "s3": "s3.S3Store",
    "swift": "swift.SwiftStore",
    "rbd": "rbd.RbdStore",
    "http": "http.HttpStore",
    "cinder": "cinder.CinderStore",
}
# Where the libraries come from that not every installation has.
_LIBRARIES = {
    "rbd": "install the packages python3-rbd and python3-rados, then run ./inv again",
    "cinder": "install the extra `cinder` into .venv: .venv/bin/pip install '.[cinder]'",
}


def _anywhere(uri: str) -> Sequence[str]:
    raise RuntimeError("no filter for addresses has been given")


@dataclass(frozen=True)
class Surroundings:
    """What drivers get from the process they run in.

    ``budget``: its memory for image data. ``addresses``: where the service may connect to when it fetches a URI; raises
    ``Invalid`` for one it must not fetch. ``share``: the bytes of the budget that a single store may have.
    """

    budget: Budget = field(default_factory=Unlimited)
    addresses: Callable[[str], Sequence[str]] = _anywhere
    share: int = 1 << 40


def make_store(options: AnyStoreOptions, surroundings: Surroundings) -> Store:
    """The store that ``options`` describe; nothing is contacted yet."""
    module, _, name = _DRIVERS[options.type].partition(".")
    try:
        driver = getattr(importlib.import_module(f"{__package__}.{module}"), name)
    except ImportError as error:
        raise PipelineError(
            f"store {options.id}: its kind, {options.type}, needs the Python module {error.name}",
            hint=_LIBRARIES.get(options.type),
        ) from None
    store: Store = driver(options, replace(surroundings, budget=Share(surroundings.budget, surroundings.share)))
    return store
