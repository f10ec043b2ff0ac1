"""Comparing the catalog with the stores: what is in a store that no image knows of, and what an image misses.

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

from pipeline.imageservice.catalog import images, leases, locations, tables, tasks
from pipeline.imageservice.catalog.model import Image, Location, LocationState
from pipeline.imageservice.data.receiving import PREFIX
from pipeline.imageservice.data.sources import FromStore
from pipeline.imageservice.data.taps import Digest
from pipeline.imageservice.data.transfer import transfer
from pipeline.imageservice.errors import ServiceError
from pipeline.imageservice.importing.request import TYPE
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.errors import ObjectMissing
from pipeline.imageservice.stores.store import Incomplete, Store

_YOUNG = timedelta(hours=1)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PAGE = 200


class Kind(StrEnum):
    """What is wrong."""

    ORPHAN = "orphan"  # an object that no image knows of
    UNFINISHED = "unfinished"  # what a write left that nobody goes on with
    MISSING = "missing"  # an image's data is not where it should be
    SIZE = "wrong size"
    DIGEST = "wrong digest"
    UNKNOWN = "unknown"  # a store that could not be looked at


@dataclass(frozen=True)
class Difference:
    """One difference. ``mended`` says what was done about it."""

    kind: Kind
    store: str
    image: str
    detail: str = ""
    mended: str = ""


def reconcile(
    service: Service, *, mend: bool = False, digests: bool = False, only: str | None = None
) -> Iterator[Difference]:
    """Every difference, as it is found. With ``digests`` all data is read; ``only``: one store's id."""
    for store in service.stores:
        if only is not None and store.id != only:
            continue
        try:
            if store.capabilities.listable:
                yield from _unknown_objects(service, store, mend)
                yield from _unfinished(service, store, mend)
            yield from _missing(service, store, mend, digests)
        except ServiceError as error:
            yield Difference(Kind.UNKNOWN, store.id, "", error.message)


def _unknown_objects(service: Service, store: Store, mend: bool) -> Iterator[Difference]:
    for found in store.objects():
        young = datetime.now(UTC) - found.modified < _YOUNG
        if young or not _UUID.fullmatch(found.name) or _is_known(service, found.name, store.id, found.stored.uri):
            continue
        done = ""
        if mend:
            try:
                store.delete(found.stored.uri)
                done = "deleted"
            except ServiceError as error:
                done = f"not deleted: {error.message}"
        yield Difference(Kind.ORPHAN, store.id, found.name, f"{found.stored.size} bytes", done)


def _is_known(service: Service, image_id: str, store: str, uri: str) -> bool:
    with service.database.read() as connection:
        # Of an address that is written in more than one way, the catalog may have another one.
        if any(place.store == store for place in locations.of_image(connection, image_id)):
            return True
        if locations.with_url(connection, uri) or leases.find(connection, PREFIX + image_id):
            return True
        return any(not task.status.is_over for task in tasks.of_image(connection, image_id))


def _unfinished(service: Service, store: Store, mend: bool) -> Iterator[Difference]:
    for left in store.incomplete():
        if datetime.now(UTC) - left.modified < _YOUNG or _is_under_way(service, left):
            continue
        done = ""
        if mend:
            store.discard(left)
            done = "discarded"
        yield Difference(Kind.UNFINISHED, store.id, left.name, f"since {left.modified:%Y-%m-%d %H:%M} UTC", done)


def _is_under_way(service: Service, left: Incomplete) -> bool:
    with service.database.read() as connection:
        lease = leases.find(connection, PREFIX + left.name)
        if lease is not None and (lease.data or {}).get("attempt") == left.attempt:
            return True
        return any(
            task.type == TYPE and not task.status.is_over and left.attempt.startswith(task.id.replace("-", ""))
            for task in tasks.of_image(connection, left.name)
        )


def _missing(service: Service, store: Store, mend: bool, digests: bool) -> Iterator[Difference]:
    for place in places(service, store.id):
        with service.database.read() as connection:
            image = images.find(connection, place.image_id)
        if image is None or not image.status.has_settled_data:
            continue
        wrong = _fault(service, store, place, image, digests)
        if wrong is not None:
            kind, detail = wrong
            done = _forget(service, place) if mend else ""
            yield Difference(kind, store.id, image.id, detail, done)


def _fault(service: Service, store: Store, place: Location, image: Image, digests: bool) -> tuple[Kind, str] | None:
    try:
        size = store.size(place.url)
        if image.size is not None and size != image.size:
            return Kind.SIZE, f"{size} bytes instead of {image.size}"
        if digests and image.hash_algo and image.hash_value:
            tap = Digest(image.hash_algo)
            with store.reader(place.url) as reader:
                transfer(FromStore(reader), (), service.buffers, taps=[tap])
            if tap.hexdigest() != image.hash_value:
                return Kind.DIGEST, image.hash_algo
    except ObjectMissing:
        return Kind.MISSING, ""
    return None


def _forget(service: Service, place: Location) -> str:
    """Strike a bad copy out, if the image has another one."""

    def work(connection: Connection) -> str:
        before = images.lock(connection, place.image_id)
        others = [one for one in before.readable_locations if one.id != place.id]
        if not others:
            return "left as it is: it is the last copy"
        locations.change(connection, place, state=LocationState.DELETING)
        images.change(connection, before)
        return f"struck out; the image is still in {', '.join(sorted(one.store or '?' for one in others))}"

    return service.database.write(work)


def places(service: Service, store: str) -> Iterator[Location]:
    """Every readable location in a store, page by page."""
    last, table = 0, tables.locations
    while True:
        query = select(table.c.id, table.c.image_id).where(table.c.store == store, table.c.id > last)
        query = query.where(table.c.state == str(LocationState.ACTIVE)).order_by(table.c.id).limit(_PAGE)
        with service.database.read() as connection:
            rows = connection.execute(query).all()
            found = [
                place for row in rows for place in locations.of_image(connection, row.image_id) if place.id == row.id
            ]
        if not rows:
            return
        last = rows[-1].id
        yield from found
