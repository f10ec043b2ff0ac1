"""Purge what was deleted long ago. An image's id stays taken for ever."""

from __future__ import annotations

from sqlalchemy import Connection, delete, exists, insert, select

from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.model.images import ImageStatus, now

_DAY = 86_400_000_000


def purge(connection: Connection, *, days: float, limit: int = 500) -> int:
    """Remove the rows of images and tasks that were deleted more than ``days`` ago; how many images.

    Images whose data is not known to be gone keep their rows: they are how it is found.
    """
    due = now() - int(days * _DAY)
    table = tables.images
    has_data = exists().where(tables.locations.c.image_id == table.c.id)
    query = select(table.c.id).where(table.c.status == str(ImageStatus.DELETED), table.c.updated_at <= due, ~has_data)
    ids = list(connection.execute(query.order_by(table.c.updated_at).limit(limit)).scalars())
    if ids:
        connection.execute(insert(tables.used_ids), [{"id": image_id} for image_id in ids])
        for dependent in (tables.members, tables.service_notes, tables.objects):
            connection.execute(delete(dependent).where(dependent.c.image_id.in_(ids)))
        connection.execute(delete(table).where(table.c.id.in_(ids)))
    connection.execute(delete(tables.tasks).where(tables.tasks.c.deleted_at <= due))
    return len(ids)
