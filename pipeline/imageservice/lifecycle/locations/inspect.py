"""Inspect the format of data that lies in a store already, without reading all of it."""

from __future__ import annotations

import time

from pipeline.image.formats import FormatRefused, FormatTap, FormatVerdict
from pipeline.imageservice.data.buffers import BLOCK
from pipeline.imageservice.data.taps import TAIL
from pipeline.imageservice.data.verdict import unsupported
from pipeline.imageservice.errors import Invalid
from pipeline.imageservice.lifecycle.guards.format_limits import limits_for, other_content
from pipeline.imageservice.model.images import Image
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.base import Reader, Store
from pipeline.imageservice.stores.errors import RangeRefused, StoreError

_TIMEOUT = 30.0  # seconds to wait for memory


def inspect_location(service: Service, store: Store, url: str, size: int, image: Image) -> FormatVerdict | None:
    """Return the verdict on the ``size`` bytes at ``url`` that are to become ``image``'s; ``None`` where no disk is
    promised.

    Raises ``UnsupportedContent`` when the image must not have them, ``Invalid`` when they can't be read,
    ``Unavailable`` when the service has no memory to spare.
    """
    if image.container_format != "bare":
        return None
    tap = FormatTap(limits_for(service, [store]))
    try:
        with service.buffers.reserve(BLOCK, time.monotonic() + _TIMEOUT):
            _show(store, url, size, tap)
    except (StoreError, ValueError) as error:  # ValueError: there is less than there was a moment ago
        detail = error.detail if isinstance(error, StoreError) else None
        raise Invalid("Invalid location: the data at its URL cannot be read.", detail=detail) from None
    try:
        verdict = tap.finish(image.disk_format, require_match=service.settings.data.require_format_match)
    except FormatRefused as refused:
        raise unsupported(refused) from None
    other_content(image, verdict)
    return verdict


def _show(store: Store, url: str, size: int, tap: FormatTap) -> None:
    """As much of the beginning as tells the format, and the end; all of it where no part can be had."""
    with store.reader(url, offset=0, length=size) as reader:
        while not tap.decided and (data := reader.read(BLOCK)):
            tap.feed(data)
        start = max(tap.size, size - TAIL)
        try:
            with store.reader(url, offset=start, length=size - start) as end:
                tap.skip(start - tap.size)
                _feed(end, tap)
        except RangeRefused:
            _feed(reader, tap)


def _feed(reader: Reader, tap: FormatTap) -> None:
    while data := reader.read(BLOCK):
        tap.feed(data)
