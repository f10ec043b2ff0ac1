"""Describe what an import puts into stores: data that can be read again and again, and what is known of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.imageservice.data.sources import FromStore, FromStream
from pipeline.imageservice.data.transfer import Source
from pipeline.imageservice.data.verdict import DataFacts
from pipeline.imageservice.stores.base import Store


@dataclass(frozen=True)
class PreparedData:
    """``size``: bytes. ``facts``: where they are known before the data has been read once more.

    ``open`` gives the data from an offset on; several readings may be under way at once. ``disk_format``: what a
    conversion has made of the image, which is then judged again; ``None`` where nothing was converted.
    """

    size: int
    facts: DataFacts | None
    open: Callable[[int], contextlib.AbstractContextManager[Source]]
    disk_format: str | None = None


def in_store(store: Store, uri: str, size: int, facts: DataFacts | None) -> PreparedData:
    """Return an object of a store as a product."""

    @contextlib.contextmanager
    def open_at(offset: int) -> Iterator[Source]:
        with store.reader(uri, offset=offset, length=size - offset) as reader:
            yield FromStore(reader)

    return PreparedData(size, facts, open_at)


def in_file(path: Path, disk_format: str) -> PreparedData:
    """Return a file that a conversion has made."""
    size = path.stat().st_size

    @contextlib.contextmanager
    def open_at(offset: int) -> Iterator[Source]:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            yield FromStream(file, size - offset)

    return PreparedData(size, None, open_at, disk_format)
