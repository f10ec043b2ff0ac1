"""Declare what the settings may say of a store: one closed model a back end, told apart by its type."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from pipeline.imageservice.stores.base_options import StoreOptions
from pipeline.imageservice.stores.cinder.options import CinderOptions
from pipeline.imageservice.stores.file.options import FileOptions
from pipeline.imageservice.stores.http.options import HttpOptions
from pipeline.imageservice.stores.rbd.options import RbdOptions
from pipeline.imageservice.stores.s3.options import S3Options
from pipeline.imageservice.stores.swift.options import SwiftOptions


def _kind(options: Any) -> Any:
    """The kind of store that settings mean; a file store needs not say so."""
    if isinstance(options, StoreOptions):
        return getattr(options, "type", None)
    return options.get("type", "file") if isinstance(options, dict) else "file"


# One more back end is one more member here, and one more line in the registry of drivers.
AnyStoreOptions = Annotated[
    Annotated[FileOptions, Tag("file")]
    | Annotated[S3Options, Tag("s3")]
    | Annotated[SwiftOptions, Tag("swift")]
    | Annotated[RbdOptions, Tag("rbd")]
    | Annotated[HttpOptions, Tag("http")]
    | Annotated[CinderOptions, Tag("cinder")],
    Discriminator(_kind, custom_error_type="store_type", custom_error_message="type: there is no such kind of store"),
]
