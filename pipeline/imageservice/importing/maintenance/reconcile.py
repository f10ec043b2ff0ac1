"""Reconcile the catalog with the stores: what is in a store that no image knows of, and what an image misses.

It only tells, unless it is asked to mend. It never touches what is younger than an hour or under way, and never takes
the last trace of an image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, select

from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.catalog.images import locations, objects
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.catalog.images.objects import ObjectState
from pipeline.imageservice.catalog.tasks import leases
from pipeline.imageservice.catalog.tasks import queue as task_queue
from pipeline.imageservice.data.sources import FromStore
from pipeline.imageservice.data.taps import DigestTap
from pipeline.imageservice.data.transfer import transfer
from pipeline.imageservice.errors import ServiceError
from pipeline.imageservice.importing.job.request import TYPE
from pipeline.imageservice.lifecycle.guards.objects import register
from pipeline.imageservice.lifecycle.transfer.upload_claim import PREFIX
from pipeline.imageservice.model.images import Image, Location, LocationState
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.base import FoundObject, IncompleteObject, Store
from pipeline.imageservice.stores.errors import ObjectMissing

_YOUNG = timedelta(hours=1)
_OURS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(\.[0-9]+)?")
_PAGE = 200


class DiscrepancyKind(StrEnum):
    """What is wrong."""

    ORPHAN = "orphan"  # an object that no image knows of
    UNFINISHED = "unfinished"  # what a write left that nobody goes on with
    MISSING = "missing"  # an image's data is not where it should be
    SIZE = "wrong size"
    DIGEST = "wrong digest"
    SHARED = "shared"  # data that two images name: it goes with the last of them
    UNKNOWN = "unknown"  # a store that could not be looked at


@dataclass(frozen=True)
class Discrepancy:
    """One difference. ``mended`` says what was done about it."""

    kind: DiscrepancyKind
    store: str
    image: str
    detail: str = ""
    mended: str = ""


def reconcile(
    service: Service, *, mend: bool = False, digests: bool = False, only: str | None = None
) -> Iterator[Discrepancy]:
    """Yield every difference, as it is found. With ``digests`` all data is read; ``only``: one store's id."""
    register(service)
    yield from _shared(service, only)
    for store in service.stores:
        if only is not None and store.id != only:
            continue
        try:
            if store.capabilities.listable:
                yield from _unknown_objects(service, store, mend)
                yield from _unfinished(service, store, mend)
            yield from _missing(service, store, mend, digests)
        except ServiceError as error:
            yield Discrepancy(DiscrepancyKind.UNKNOWN, store.id, "", error.message)


def _shared(service: Service, only: str | None) -> Iterator[Discrepancy]:
    """Find data that images share: each of them reads it, and whoever is deleted last takes it along."""
    with service.database.read() as connection:
        found = objects.shared(connection)
    for _, places in found:
        names = sorted({place.image_id for place in places})
        for place in places:
            if only is None or place.store == only:
                others = ", ".join(name for name in names if name != place.image_id)
                yield Discrepancy(DiscrepancyKind.SHARED, place.store or "", place.image_id, f"with {others}")


def _unknown_objects(service: Service, store: Store, mend: bool) -> Iterator[Discrepancy]:
    for found in store.objects():
        young = datetime.now(UTC) - found.modified < _YOUNG
        if young or not _OURS.fullmatch(found.name) or _is_known(service, store, found):
            continue
        done = ""
        if mend:
            try:
                store.delete(found.stored.uri)
                done = "deleted"
            except ServiceError as error:
                done = f"not deleted: {error.message}"
        yield Discrepancy(DiscrepancyKind.ORPHAN, store.id, found.name, f"{found.stored.size} bytes", done)


def _is_known(service: Service, store: Store, found: FoundObject) -> bool:
    image_id = objects.image_of(found.name)
    with service.database.read() as connection:
        row = objects.find(connection, store.identify(found.stored.uri), lock=False)
        if row is not None and row.state in (ObjectState.STAGED, ObjectState.DELETING):
            return True
        if row is not None and locations.of_object(connection, row.digest):
            return True
        # What an older version of the service writes, has no row.
        if locations.with_url(connection, found.stored.uri) or leases.find(connection, PREFIX + image_id):
            return True
        return any(not task.status.is_over for task in task_queue.of_image(connection, image_id))


def _unfinished(service: Service, store: Store, mend: bool) -> Iterator[Discrepancy]:
    for left in store.incomplete():
        if datetime.now(UTC) - left.modified < _YOUNG or _is_under_way(service, left):
            continue
        done = ""
        if mend:
            store.discard(left)
            done = "discarded"
        yield Discrepancy(
            DiscrepancyKind.UNFINISHED, store.id, left.name, f"since {left.modified:%Y-%m-%d %H:%M} UTC", done
        )


def _is_under_way(service: Service, left: IncompleteObject) -> bool:
    with service.database.read() as connection:
        image_id = objects.image_of(left.name)
        lease = leases.find(connection, PREFIX + image_id)
        if lease is not None and (lease.data or {}).get("attempt") == left.attempt:
            return True
        return any(
            task.type == TYPE and not task.status.is_over and left.attempt.startswith(task.id.replace("-", ""))
            for task in task_queue.of_image(connection, image_id)
        )


def _missing(service: Service, store: Store, mend: bool, digests: bool) -> Iterator[Discrepancy]:
    for location in image_locations(service, store.id):
        with service.database.read() as connection:
            image = image_records.find(connection, location.image_id)
        if image is None or not image.status.has_settled_data:
            continue
        wrong = _fault(service, store, location, image, digests)
        if wrong is not None:
            kind, detail = wrong
            done = _forget(service, location) if mend else ""
            yield Discrepancy(kind, store.id, image.id, detail, done)


def _fault(
    service: Service, store: Store, location: Location, image: Image, digests: bool
) -> tuple[DiscrepancyKind, str] | None:
    try:
        size = store.size(location.url)
        if image.size is not None and size != image.size:
            return DiscrepancyKind.SIZE, f"{size} bytes instead of {image.size}"
        if digests and image.hash_algo and image.hash_value:
            tap = DigestTap(image.hash_algo)
            with store.reader(location.url) as reader:
                transfer(FromStore(reader), (), service.buffers, taps=[tap])
            if tap.hexdigest() != image.hash_value:
                return DiscrepancyKind.DIGEST, image.hash_algo
    except ObjectMissing:
        return DiscrepancyKind.MISSING, ""
    return None


def _forget(service: Service, location: Location) -> str:
    """Strike a bad copy out, if the image has another one."""

    def work(connection: Connection) -> str:
        before = image_records.lock(connection, location.image_id)
        others = [one for one in before.readable_locations if one.id != location.id]
        if not others:
            return "left as it is: it is the last copy"
        locations.change(connection, location, state=LocationState.DELETING)
        image_records.change(connection, before)
        return f"struck out; the image is still in {', '.join(sorted(one.store or '?' for one in others))}"

    return service.database.write(work)


def image_locations(service: Service, store: str) -> Iterator[Location]:
    """Yield every readable location in a store, page by page."""
    last, table = 0, tables.locations
    while True:
        query = select(table.c.id, table.c.image_id).where(table.c.store == store, table.c.id > last)
        query = query.where(table.c.state == str(LocationState.ACTIVE)).order_by(table.c.id).limit(_PAGE)
        with service.database.read() as connection:
            rows = connection.execute(query).all()
            found = [
                location
                for row in rows
                for location in locations.of_image(connection, row.image_id)
                if location.id == row.id
            ]
        if not rows:
            return
        last = rows[-1].id
        yield from found
