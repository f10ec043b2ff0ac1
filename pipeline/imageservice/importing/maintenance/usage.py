"""Sum up what the stores hold, as the catalog has it, and how they are."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError
from dataclasses import dataclass

from sqlalchemy import func, select

from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.errors import ServiceError
from pipeline.imageservice.model.images import LocationState
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.base import Space, Store

_TIMEOUT = 15.0


@dataclass(frozen=True)
class StoreUsage:
    """One store. ``fault``: why it cannot be used now. ``total`` and ``free``: bytes, where the back end tells.

    ``images`` and ``bytes`` are what the catalog has there; ``bytes`` counts an image's length, holes too.
    """

    store: str
    type: str
    default: bool
    writable: bool
    weight: int
    fault: str | None
    images: int
    bytes: int
    total: int | None
    free: int | None


def store_usage(service: Service) -> Iterator[StoreUsage]:
    """Yield every store, in the settings' order. One that hangs is given up after a quarter of a minute."""
    counts = _counts(service)
    pool = ThreadPoolExecutor(max(1, len(service.stores)), "look")
    looks = [(store, pool.submit(_look, store)) for store in service.stores]
    for store, look in looks:
        fault, space = _result(store, look)
        number, size = counts.get(store.id, (0, 0))
        yield StoreUsage(
            store=store.id,
            type=store.type,
            default=store is service.stores.default,
            writable=store.capabilities.writable,
            weight=store.weight,
            fault=fault,
            images=number,
            bytes=size,
            total=space.total,
            free=space.free,
        )
    pool.shutdown(wait=False, cancel_futures=True)


def _counts(service: Service) -> dict[str, tuple[int, int]]:
    locations, known = tables.locations, tables.images
    query = (
        select(locations.c.store, func.count(), func.coalesce(func.sum(known.c.size), 0))
        .join(known, known.c.id == locations.c.image_id)
        .where(locations.c.state == str(LocationState.ACTIVE))
        .group_by(locations.c.store)
    )
    with service.database.read() as connection:
        return {row[0]: (int(row[1]), int(row[2])) for row in connection.execute(query) if row[0] is not None}


def _look(store: Store) -> Space:
    store.check()
    return store.space()


def _result(store: Store, look: Future[Space]) -> tuple[str | None, Space]:
    try:
        return None, look.result(_TIMEOUT)
    except TimeoutError:
        return f"store {store.id} does not answer", Space()
    except ServiceError as error:
        return ": ".join(part for part in (error.message, error.detail) if part), Space()
