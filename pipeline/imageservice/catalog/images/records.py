"""Make, read, change and end images.

A change goes ``before = lock(connection, id)``, then ``after = change(connection, before, name=…, status=…)``. ``lock``
keeps every other writer of the image away until the transaction ends, so no update is lost; the row's version is
checked all the same. Locations, members and notes are written by their own modules, between the two.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, exists, insert, select, update
from sqlalchemy.exc import IntegrityError

from pipeline.imageservice.catalog import quotas
from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.catalog.database.tables import AnyRow
from pipeline.imageservice.catalog.images import filter_index, locations, service_notes
from pipeline.imageservice.errors import Conflict, Duplicate, NotFound
from pipeline.imageservice.model.images import Image, ImageStatus, ImageVisibility, now

_COLUMNS = tuple(column for column in tables.images.c if column.name not in ("sort_name", "shelf", "weight"))
_NAMES = tuple(column.name for column in _COLUMNS)
_ONE = select(*_COLUMNS).where(tables.images.c.id == bindparam("id"))
_STATUS = select(tables.images.c.status).where(tables.images.c.id == bindparam("id"))
_LOCK = _ONE.with_for_update()
_INSERT = insert(tables.images)
# To call an enum costs more than all the rest of making an image from its row.
_STATUSES = {str(status): status for status in ImageStatus}
_VISIBILITIES = {str(visibility): visibility for visibility in ImageVisibility}


def insert_image(connection: Connection, image: Image) -> Image:
    """Write down a new image. Raises ``Duplicate`` when its id is, or ever was, in use."""
    taken = select(exists().where(tables.used_ids.c.id == image.id))
    if connection.execute(taken).scalar():
        raise Duplicate(f"Image ID {image.id} already exists!")
    try:
        connection.execute(_INSERT, row_of(image))
    except IntegrityError:
        raise Duplicate(f"Image ID {image.id} already exists!") from None
    filter_index.write(connection, None, image)
    quotas.follow(connection, None, image)
    return image


def find(connection: Connection, image_id: str, *, gone: bool = False) -> Image | None:
    """Return the image with its locations and notes, or ``None``; deleted ones count only with ``gone``."""
    return _load(connection, connection.execute(_ONE, {"id": image_id}).first(), gone)


def status_of(connection: Connection, image_id: str) -> ImageStatus | None:
    """Return the image's status, ``None`` where there never was such an image."""
    status = connection.execute(_STATUS, {"id": image_id}).scalar()
    return _STATUSES[status] if status is not None else None


def get(connection: Connection, image_id: str, *, gone: bool = False) -> Image:
    """Return the image with its locations and notes. Raises ``NotFound``."""
    image = find(connection, image_id, gone=gone)
    if image is None:
        raise _missing(image_id)
    return image


def lock(connection: Connection, image_id: str, *, gone: bool = False) -> Image:
    """Get as ``get`` does, and let nobody else change the image until this (write) transaction ends."""
    image = _load(connection, connection.execute(_LOCK, {"id": image_id}).first(), gone)
    if image is None:
        raise _missing(image_id)
    return image


def change(connection: Connection, before: Image, **changes: Any) -> Image:
    """Set fields of the image ``before`` (locked); returns it as it is now, with the locations and notes it has now.

    Call it after adding or removing locations or notes too, even with nothing else to set: it counts them for the
    quotas. Raises ``Conflict`` for a step that the status machine does not have.
    """
    after = dataclasses.replace(
        before,
        locations=locations.of_image(connection, before.id),
        service=service_notes.of_image(connection, before.id),
        **changes,
    )
    return save(connection, before, after)


def save(connection: Connection, before: Image, after: Image) -> Image:
    """Change as ``change`` does, for one who knows that locations and notes are as ``after`` says."""
    if after.status is not before.status and not before.status.may_become(after.status):
        raise Conflict(f"Image {before.id} cannot go from {before.status} to {after.status}")
    if after.locations and service_notes.REFUSED_STORE in after.service:
        # Now there is data: where such was refused before is of no interest any more.
        service_notes.remove(connection, before.id, service_notes.REFUSED_STORE)
        kept = {name: value for name, value in after.service.items() if name != service_notes.REFUSED_STORE}
        after = dataclasses.replace(after, service=kept)
    touched = now() if after.updated_at == before.updated_at else after.updated_at
    after = dataclasses.replace(after, version=before.version + 1, updated_at=touched)
    old, new = row_of(before), row_of(after)
    changes = {name: value for name, value in new.items() if old[name] != value}
    row = (tables.images.c.id == before.id) & (tables.images.c.version == before.version)
    if connection.execute(update(tables.images).where(row).values(**changes)).rowcount != 1:
        raise Conflict(f"Image {before.id} was changed by somebody else; read it again")
    filter_index.write(connection, before, after)
    quotas.follow(connection, before, after)
    return after


def change_status(
    connection: Connection, image_id: str, *, expected: Collection[ImageStatus], to: ImageStatus, **changes: Any
) -> Image:
    """Compare and set: from one of ``expected`` to ``to``, with further fields of ``Image`` in the same write.

    Returns the image as it is now. Raises ``Conflict`` when the status is another one (the loser of a race changes
    nothing), ``NotFound`` when the image is gone.
    """
    before = lock(connection, image_id)
    if before.status not in expected:
        raise Conflict(f"Image {image_id} is {before.status}, not {' or '.join(sorted(expected))}")
    return change(connection, before, status=to, **changes)


def by_ids(connection: Connection, image_ids: Sequence[str]) -> list[Image]:
    """Return the images with their locations and notes, in the order of ``image_ids``; unknown ones are left out."""
    rows = connection.execute(select(*_COLUMNS).where(tables.images.c.id.in_(image_ids))).all()
    found = {image.id: image for image in with_parts(connection, rows)}
    return [found[image_id] for image_id in image_ids if image_id in found]


def with_parts(connection: Connection, rows: Iterable[AnyRow]) -> list[Image]:
    """Return rows of ``columns()`` as images, with locations and notes, in two statements for all of them."""
    images = [from_row(row) for row in rows]
    ids = [image.id for image in images]
    if not ids:
        return []
    image_locations = locations.of_images(connection, ids)
    notes = service_notes.of_images(connection, ids)
    return [
        dataclasses.replace(image, locations=image_locations.get(image.id, ()), service=notes.get(image.id, {}))
        if image.id in image_locations or image.id in notes
        else image
        for image in images
    ]


def columns() -> tuple[Any, ...]:
    """Return the columns ``from_row`` wants, in its order."""
    return _COLUMNS


def from_row(row: AnyRow) -> Image:
    """Return a row of ``columns()`` as an image without locations and notes."""
    values = dict(zip(_NAMES, row, strict=True))
    document = values.pop("document")
    values["status"] = _STATUSES[values["status"]]
    values["visibility"] = _VISIBILITIES[values["visibility"]]
    return Image(**values, properties=document["properties"], tags=tuple(document["tags"]))


def _load(connection: Connection, row: AnyRow | None, gone: bool) -> Image | None:
    if row is None:
        return None
    image = from_row(row)
    if image.status.is_gone and not gone:
        return None
    return dataclasses.replace(
        image,
        locations=locations.of_image(connection, image.id),
        service=service_notes.of_image(connection, image.id),
    )


def row_of(image: Image) -> Mapping[str, Any]:
    """Return the image as a row of its table."""
    row = {name: getattr(image, name) for name in _NAMES if name != "document"}
    row["status"], row["visibility"] = str(image.status), str(image.visibility)
    row["sort_name"] = image.name or ""
    row["shelf"] = int(image.listing_state)
    row["weight"] = image.weight
    row["document"] = {"properties": dict(image.properties), "tags": list(image.tags)}
    return row


def _missing(image_id: str) -> NotFound:
    return NotFound(f"No image found with ID {image_id}")
