"""Declare what the settings may say of a store: one closed model a back end, told apart by its type."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Tag

from pipeline.imageservice.stores.base_options import StoreOptions
from pipeline.imageservice.stores.cinder.options import CinderOptions
from pipeline.imageservice.stores.file.options import FileOptions
from pipeline.imageservice.stores.http.options import HttpOptions
from pipeline.imageservice.stores.rbd.options import RbdOptions
from pipeline.imageservice.stores.s3.options import S3Options
from pipeline.imageservice.stores.swift.options import SwiftOptions


def _kind(options: Any) -> Any:
    """Return the kind of store that settings mean; a file store needs not say so."""
    if isinstance(options, StoreOptions):
        return getattr(options, "type", None)
    return options.get("type", "file") if isinstance(options, dict) else "file"


# Kinds that Glance had, or has under another name, and what to do about it.
_ELSEWHERE = {
    "sheepdog": "sheepdog is not supported: nobody develops it any more, and QEMU, Nova and glance_store have dropped "
    "it; copy its images into another store, such as rbd or file",
    "vmware": "vmware is not supported: no datastore is spoken to here; use file, s3 or swift",
    "filesystem": "filesystem is called file here",
    "ceph": "ceph is called rbd here",
}


def _refuse_elsewhere(options: Any) -> Any:
    kind = _kind(options)
    if isinstance(kind, str) and kind in _ELSEWHERE:
        raise ValueError(f"type: {_ELSEWHERE[kind]}")
    return options


# One more back end is one more member here, and one more line in the registry of drivers.
AnyStoreOptions = Annotated[
    Annotated[FileOptions, Tag("file")]
    | Annotated[S3Options, Tag("s3")]
    | Annotated[SwiftOptions, Tag("swift")]
    | Annotated[RbdOptions, Tag("rbd")]
    | Annotated[HttpOptions, Tag("http")]
    | Annotated[CinderOptions, Tag("cinder")],
    Discriminator(_kind, custom_error_type="store_type", custom_error_message="type: there is no such kind of store"),
    BeforeValidator(_refuse_elsewhere),
]
