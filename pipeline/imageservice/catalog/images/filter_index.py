"""Index what an image can be filtered by, as digests that are found by one index seek.

A term stands for "in this scope, this property (or tag) has this value". An image has each of its terms once for its
visibility and once for its owner and visibility, since those are the branches a list is made of (see listing.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from sqlalchemy import Connection, bindparam, delete, insert

from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.model.images import Image, ImageVisibility, ListingState

PROPERTY = "p"
TAG = "t"
_DELETE = delete(tables.terms).where(
    tables.terms.c.term == bindparam("_term"),
    tables.terms.c.created_at == bindparam("_created_at"),
    tables.terms.c.image_id == bindparam("_image_id"),
)


def by_visibility(state: ListingState, visibility: ImageVisibility) -> str:
    """Return the scope of all images of one visibility."""
    return f"{int(state)}v{visibility}"


def by_owner(state: ListingState, owner: str | None, visibility: ImageVisibility) -> str:
    """Return the scope of one project's images of one visibility."""
    return f"{int(state)}o{visibility}/{owner or ''}"


def digest(scope: str, kind: str, name: str, value: str) -> bytes:
    """Return the term. Parts are joined by NUL, which no text in the catalog holds."""
    return hashlib.blake2b("\0".join((scope, kind, name, value)).encode(), digest_size=16).digest()


def of_image(image: Image) -> set[bytes]:
    """Return all terms of ``image``: none when it is gone."""
    state = image.listing_state
    if state is ListingState.GONE:
        return set()
    scopes = (by_visibility(state, image.visibility), by_owner(state, image.owner, image.visibility))
    return {digest(scope, *what) for scope in scopes for what in _filterable(image)}


def write(connection: Connection, before: Image | None, after: Image) -> None:
    """Bring the rows in line with ``after``, given that they were in line with ``before``."""
    old = of_image(before) if before else set()
    new = of_image(after)
    if old == new:
        return
    if gone := sorted(old - new):
        rows = [{"_term": term, "_created_at": after.created_at, "_image_id": after.id} for term in gone]
        connection.execute(_DELETE, rows)
    if added := sorted(new - old):
        rows = [{"term": term, "created_at": after.created_at, "image_id": after.id} for term in added]
        connection.execute(insert(tables.terms), rows)


def _filterable(image: Image) -> Iterator[tuple[str, str, str]]:
    for name, value in image.properties.items():
        yield PROPERTY, name, value or ""
    for tag in image.tags:
        yield TAG, tag, ""
