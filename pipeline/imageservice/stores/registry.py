"""Register the driver of every back end, which is imported only where such a store is configured."""

from __future__ import annotations

import importlib
from dataclasses import replace

from pipeline.base.errors import PipelineError
from pipeline.imageservice.stores.base import DriverContext, Store
from pipeline.imageservice.stores.budget import Share
from pipeline.imageservice.stores.options import AnyStoreOptions

# One more back end is one more line here, and one more member of AnyStoreOptions.
_DRIVERS = {
    "file": "file.store.FileStore",
    "s3": "s3.store.S3Store",
    "swift": "swift.store.SwiftStore",
    "rbd": "rbd.store.RbdStore",
    "http": "http.store.HttpStore",
    "cinder": "cinder.store.CinderStore",
}
# Where the libraries come from that not every installation has.
_LIBRARIES = {
    "rbd": "install the packages python3-rbd and python3-rados, then run ./inv again",
    "cinder": "install the extra `cinder` into .venv: .venv/bin/pip install '.[cinder]'",
}


def make_store(options: AnyStoreOptions, context: DriverContext) -> Store:
    """Return the store that ``options`` describe; nothing is contacted yet."""
    module, _, name = _DRIVERS[options.type].rpartition(".")
    try:
        driver = getattr(importlib.import_module(f"{__package__}.{module}"), name)
    except ImportError as error:
        raise PipelineError(
            f"store {options.id}: its kind, {options.type}, needs the Python module {error.name}",
            hint=_LIBRARIES.get(options.type),
        ) from None
    store: Store = driver(options, replace(context, budget=Share(context.budget, context.share)))
    return store
