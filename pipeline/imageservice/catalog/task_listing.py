"""Lists of tasks, page by page."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, and_, func, or_, select

from pipeline.imageservice.catalog import tables
from pipeline.imageservice.catalog.tasks import COLUMNS, Task, from_row, living
from pipeline.imageservice.errors import Invalid

_T = tables.tasks
SORT_KEYS = ("created_at", "updated_at", "expires_at", "id", "type", "status", "owner")


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """A list of tasks: equality filters on columns, one key to sort by (the id breaks ties), a page."""

    filters: tuple[tuple[str, str], ...]
    sort_key: str
    descending: bool
    limit: int
    marker: str | None


def page(connection: Connection, query: TaskQuery) -> list[Task]:
    """At most ``query.limit`` tasks, in order. Raises ``Invalid`` for an unknown marker."""
    if query.limit == 0:
        return []
    key = func.coalesce(_T.c[query.sort_key], 0 if query.sort_key.endswith("_at") else "")
    statement = select(*COLUMNS).where(*living(), *(_T.c[name] == value for name, value in query.filters))
    if query.marker is not None:
        place = connection.execute(select(key, _T.c.id).where(_T.c.id == query.marker)).first()
        if place is None:
            raise Invalid(f"Invalid marker: there is no task {query.marker}")
        before = key < place[0] if query.descending else key > place[0]
        tie = _T.c.id < place[1] if query.descending else _T.c.id > place[1]
        statement = statement.where(or_(before, and_(key == place[0], tie)))
    order = [key.desc(), _T.c.id.desc()] if query.descending else [key, _T.c.id]
    return [from_row(row) for row in connection.execute(statement.order_by(*order).limit(query.limit))]
