"""Keep where images' bytes lie: one row for each copy, with what is known of it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.catalog.database.tables import AnyRow
from pipeline.imageservice.model.images import ImageStatus, Location, LocationState, now

_T = tables.locations
_COLUMNS = (
    _T.c.id,
    _T.c.image_id,
    _T.c.url,
    _T.c.store,
    _T.c.metadata,
    _T.c.state,
    _T.c.created_at,
    _T.c.updated_at,
    _T.c.identity,
)
_OF_ONE = select(*_COLUMNS).where(_T.c.image_id == bindparam("image_id")).order_by(_T.c.id)


def of_image(connection: Connection, image_id: str) -> tuple[Location, ...]:
    """Return all locations of one image, oldest first, whatever their state."""
    return tuple(_from_row(row) for row in connection.execute(_OF_ONE, {"image_id": image_id}))


def of_images(connection: Connection, image_ids: Sequence[str]) -> dict[str, tuple[Location, ...]]:
    """Return all locations of several images; an image without any has no entry."""
    found: dict[str, list[Location]] = defaultdict(list)
    for row in connection.execute(select(*_COLUMNS).where(_T.c.image_id.in_(image_ids)).order_by(_T.c.id)):
        found[row.image_id].append(_from_row(row))
    return {image_id: tuple(locations) for image_id, locations in found.items()}


def add(
    connection: Connection,
    image_id: str,
    url: str,
    *,
    store: str | None,
    metadata: Mapping[str, Any] | None = None,
    state: LocationState = LocationState.ACTIVE,
    identity: bytes | None = None,
) -> Location:
    """Write down a further location and return it. Lock the image first, and hold its object (see ``objects``).

    A location that the image's size is counted for needs ``images.save`` (with the locations as they are now) in the
    same transaction, so that the quota counters follow.
    """
    moment = now()
    facts = dict(metadata or {})
    row: dict[str, Any] = {"image_id": image_id, "store": store, "metadata": facts, "state": str(state)}
    row |= {"url": url, "url_digest": digest(url), "created_at": moment, "updated_at": moment, "identity": identity}
    key = connection.execute(insert(_T), row).inserted_primary_key
    assert key is not None  # noqa: S101 - every dialect in use returns it
    return Location(key[0], image_id, url, store, facts, state, moment, moment, identity)


def change(connection: Connection, location: Location, **changes: Any) -> None:
    """Set ``state``, ``metadata``, ``url``, ``store`` or ``identity`` of a location."""
    if "url" in changes:
        changes["url_digest"] = digest(changes["url"])
    if "state" in changes:
        changes["state"] = str(changes["state"])
    connection.execute(update(_T).where(*_same(location)).values(updated_at=now(), **changes))


def remove(connection: Connection, location: Location) -> None:
    """Forget a location. The bytes must be gone already, or never have been."""
    connection.execute(delete(_T).where(*_same(location)))


def is_given_up(connection: Connection, location: Location) -> bool:
    """Return whether this location is still there, and its data is to go: by itself, or with its image."""
    images = tables.images
    query = select(_T.c.state, images.c.status).join(images, images.c.id == _T.c.image_id).where(*_same(location))
    row = connection.execute(query).first()
    return row is not None and (row.state == str(LocationState.DELETING) or ImageStatus(row.status).is_gone)


def with_url(connection: Connection, url: str) -> list[Location]:
    """Return every location, of any image, with exactly this URL."""
    rows = connection.execute(select(*_COLUMNS).where(_T.c.url_digest == digest(url), _T.c.url == url))
    return [_from_row(row) for row in rows]


def of_object(connection: Connection, identity: bytes) -> list[Location]:
    """Return every location, of any image, that leads to this object, oldest first."""
    rows = connection.execute(select(*_COLUMNS).where(_T.c.identity == identity).order_by(_T.c.id))
    return [_from_row(row) for row in rows]


def unidentified(connection: Connection, stores: Sequence[str], *, after: int, limit: int = 200) -> list[Location]:
    """Return locations in ``stores``, or in none that is named, of whose object nothing is known yet, by id from
    ``after``.
    """
    query = select(*_COLUMNS).where(_T.c.identity.is_(None), _T.c.id > after)
    query = query.where(_T.c.store.in_(stores) | _T.c.store.is_(None)).order_by(_T.c.id).limit(limit)
    return [_from_row(row) for row in connection.execute(query)]


def in_state(
    connection: Connection, state: LocationState, *, older_than: int | None = None, limit: int = 100
) -> list[Location]:
    """Return locations in ``state``, longest there first, unchanged since ``older_than`` (a time in microseconds)."""
    query = select(*_COLUMNS).where(_T.c.state == str(state)).order_by(_T.c.updated_at).limit(limit)
    if older_than is not None:
        query = query.where(_T.c.updated_at < older_than)
    return [_from_row(row) for row in connection.execute(query)]


def digest(url: str) -> bytes:
    """Return the key a URL of any length is looked up by."""
    return hashlib.blake2b(url.encode(), digest_size=16).digest()


def _same(location: Location) -> tuple[Any, ...]:
    """Return the conditions for this location's row: SQLite gives the id of a row that has gone to the next one."""
    return _T.c.id == location.id, _T.c.image_id == location.image_id, _T.c.url_digest == digest(location.url)


def _from_row(row: AnyRow) -> Location:
    key, image_id, url, store, metadata, state, created_at, updated_at, identity = row
    return Location(key, image_id, url, store, metadata, LocationState(state), created_at, updated_at, identity)
