"""Where images' bytes lie: one row for each copy, with what is known of it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from pipeline.imageservice.catalog import tables
from pipeline.imageservice.catalog.model import Location, LocationState, now
from pipeline.imageservice.catalog.tables import AnyRow

_T = tables.locations
_COLUMNS = (_T.c.id, _T.c.image_id, _T.c.url, _T.c.store, _T.c.metadata, _T.c.state, _T.c.created_at, _T.c.updated_at)
_OF_ONE = select(*_COLUMNS).where(_T.c.image_id == bindparam("image_id")).order_by(_T.c.id)


def of_image(connection: Connection, image_id: str) -> tuple[Location, ...]:
    """All locations of one image, oldest first, whatever their state."""
    return tuple(_from_row(row) for row in connection.execute(_OF_ONE, {"image_id": image_id}))


def of_images(connection: Connection, image_ids: Sequence[str]) -> dict[str, tuple[Location, ...]]:
    """All locations of several images; an image without any has no entry."""
    found: dict[str, list[Location]] = defaultdict(list)
    for row in connection.execute(select(*_COLUMNS).where(_T.c.image_id.in_(image_ids)).order_by(_T.c.id)):
        found[row.image_id].append(_from_row(row))
    return {image_id: tuple(places) for image_id, places in found.items()}


def add(
    connection: Connection,
    image_id: str,
    url: str,
    *,
    store: str | None,
    metadata: Mapping[str, Any] | None = None,
    state: LocationState = LocationState.ACTIVE,
) -> Location:
    """Write down a further location and return it. Lock the image first.

    A location that the image's size is counted for needs ``images.save`` (with the locations as they are now) in the
    same transaction, so that the quota counters follow.
    """
    moment = now()
    facts = dict(metadata or {})
    row: dict[str, Any] = {"image_id": image_id, "store": store, "metadata": facts, "state": str(state)}
    row |= {"url": url, "url_digest": digest(url), "created_at": moment, "updated_at": moment}
    key = connection.execute(insert(_T), row).inserted_primary_key
    assert key is not None  # noqa: S101 - every dialect in use returns it
    return Location(key[0], image_id, url, store, facts, state, moment, moment)


def change(connection: Connection, location: Location, **changes: Any) -> None:
    """Set ``state``, ``metadata``, ``url`` or ``store`` of a location."""
    if "url" in changes:
        changes["url_digest"] = digest(changes["url"])
    if "state" in changes:
        changes["state"] = str(changes["state"])
    connection.execute(update(_T).where(_T.c.id == location.id).values(updated_at=now(), **changes))


def remove(connection: Connection, location: Location) -> None:
    """Forget a location. The bytes must be gone already, or never have been."""
    connection.execute(delete(_T).where(_T.c.id == location.id))


def with_url(connection: Connection, url: str) -> list[Location]:
    """Every location, of any image, with exactly this URL."""
    rows = connection.execute(select(*_COLUMNS).where(_T.c.url_digest == digest(url), _T.c.url == url))
    return [_from_row(row) for row in rows]


def in_state(
    connection: Connection, state: LocationState, *, older_than: int | None = None, limit: int = 100
) -> list[Location]:
    """Locations in ``state``, longest there first, unchanged since ``older_than`` (a time in microseconds)."""
    query = select(*_COLUMNS).where(_T.c.state == str(state)).order_by(_T.c.updated_at).limit(limit)
    if older_than is not None:
        query = query.where(_T.c.updated_at < older_than)
    return [_from_row(row) for row in connection.execute(query)]


def urls_in(connection: Connection, store: str, urls: Iterable[str]) -> set[str]:
    """Which of ``urls`` some image claims in ``store``: what a sweep of orphans must leave alone."""
    wanted = {digest(url): url for url in urls}
    query = select(_T.c.url).where(_T.c.url_digest.in_(wanted), _T.c.store == store)
    return {row.url for row in connection.execute(query)}


def digest(url: str) -> bytes:
    """The key a URL of any length is looked up by."""
    return hashlib.blake2b(url.encode(), digest_size=16).digest()


def _from_row(row: AnyRow) -> Location:
    key, image_id, url, store, metadata, state, created_at, updated_at = row
    return Location(key, image_id, url, store, metadata, LocationState(state), created_at, updated_at)
