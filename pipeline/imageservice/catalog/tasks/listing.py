"""List tasks, page by page."""

from __future__ import annotations

from sqlalchemy import Connection, and_, func, or_, select

from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.catalog.tasks.queue import COLUMNS, from_row, living
from pipeline.imageservice.errors import Invalid
from pipeline.imageservice.model.queries import TaskQuery
from pipeline.imageservice.model.tasks import Task

_T = tables.tasks


def page(connection: Connection, query: TaskQuery) -> list[Task]:
    """Return at most ``query.limit`` tasks, in order. Raises ``Invalid`` for an unknown marker."""
    if query.limit == 0:
        return []
    key = func.coalesce(_T.c[query.sort_key], 0 if query.sort_key.endswith("_at") else "")
    statement = select(*COLUMNS).where(*living(), *(_T.c[name] == value for name, value in query.filters))
    if query.marker is not None:
        location = connection.execute(select(key, _T.c.id).where(_T.c.id == query.marker)).first()
        if location is None:
            raise Invalid(f"Invalid marker: there is no task {query.marker}")
        before = key < location[0] if query.descending else key > location[0]
        tie = _T.c.id < location[1] if query.descending else _T.c.id > location[1]
        statement = statement.where(or_(before, and_(key == location[0], tie)))
    order = [key.desc(), _T.c.id.desc()] if query.descending else [key, _T.c.id]
    return [from_row(row) for row in connection.execute(statement.order_by(*order).limit(query.limit))]
