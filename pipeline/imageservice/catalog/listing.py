"""Lists of images: a page costs the same among a thousand images and among a million.

Each branch (see branches.py) is read in order from an index, at most a page of it; the union of these is sorted and
cut. A filter by property or tag reads the term's rows instead, which stand in the default order too. With several of
them the rarest leads (a capped count says which is), the others are looked up. For any other order, a rare filter's
rows are sorted, and a common one is looked up while the images are read in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, or_, select, tuple_, union_all

from pipeline.imageservice.catalog import branches, images, tables, terms
from pipeline.imageservice.catalog.branches import Branch, OfMember, OfOwner
from pipeline.imageservice.catalog.model import Image, Shelf, Visibility
from pipeline.imageservice.catalog.query import Condition, Query, Sort

RARE = 2000  # rows that may as well be sorted
_I = tables.images
_M = tables.members
_T = tables.terms

_SORTED: dict[str, ColumnElement[Any]] = {
    "name": _I.c.sort_name,
    "status": _I.c.status,
    "container_format": func.coalesce(_I.c.container_format, ""),
    "disk_format": func.coalesce(_I.c.disk_format, ""),
    "size": func.coalesce(_I.c.size, 0),
    "id": _I.c.id,
    "created_at": _I.c.created_at,
    "updated_at": _I.c.updated_at,
}


def page(connection: Connection, query: Query) -> list[Image]:
    """At most ``query.limit`` images, in order, with their locations and notes."""
    parts = branches.of_query(query) if query.limit > 0 else []
    statements = [_branch(connection, query, part) for part in parts]
    if not statements:
        return []
    columns = images.columns()
    if len(statements) == 1:
        return images.with_parts(connection, connection.execute(statements[0]))
    pages = [select(*statement.subquery().c) for statement in statements]
    everything = union_all(*pages).subquery()
    names = {key: everything.c[f"sort_{number}"] for number, key in enumerate(sort.key for sort in query.sort)}
    order = [names[sort.key].desc() if sort.descending else names[sort.key] for sort in query.sort]
    cut = select(*(everything.c[column.name] for column in columns)).order_by(*order).limit(query.limit)
    return images.with_parts(connection, connection.execute(cut))


def _branch(connection: Connection, query: Query, part: Branch) -> Select[*tuple[Any, ...]]:
    shelf = Shelf.HIDDEN if query.hidden else Shelf.LISTED
    found = [terms.digest(part.scope(shelf), terms.PROPERTY, name, value) for name, value in query.properties]
    found += [terms.digest(part.scope(shelf), terms.TAG, tag, "") for tag in query.tags]
    leader = _leader(connection, query, part, found)
    statement = select(*images.columns(), *_sort_columns(query)).select_from(_I)
    if leader is not None:
        statement = statement.join(_T, _T.c.image_id == _I.c.id).where(_T.c.term == leader)
        if isinstance(part, OfMember):
            statement = statement.where(exists().where(_M.c.image_id == _I.c.id, *_membership(part)))
    elif isinstance(part, OfMember):
        statement = statement.join(_M, _M.c.image_id == _I.c.id).where(*_membership(part))
    statement = statement.where(*_placed(part, shelf), *(_compare(one) for one in query.conditions))
    for term in found:
        if term != leader:
            probe = _T.alias()
            mine = (probe.c.term == term, probe.c.created_at == _I.c.created_at, probe.c.image_id == _I.c.id)
            statement = statement.where(exists().where(*mine))
    order = _order(query, part, leads=leader is not None)
    if query.marker is not None:
        statement = statement.where(_beyond(connection, query, order))
    ordered = [column.desc() if sort.descending else column for column, sort in zip(order, query.sort, strict=True)]
    return statement.order_by(*ordered).limit(query.limit)


def _sort_columns(query: Query) -> list[ColumnElement[Any]]:
    return [_SORTED[sort.key].label(f"sort_{number}") for number, sort in enumerate(query.sort)]


def _leader(connection: Connection, query: Query, part: Branch, found: Sequence[bytes]) -> bytes | None:
    """The term whose rows are read first; ``None`` to read the branch's own index."""
    if not found:
        return None
    in_order = query.has_default_order and not isinstance(part, OfMember)
    if in_order and len(found) == 1:
        return found[0]
    counts = {term: _capped_count(connection, term) for term in found}
    rarest = min(counts, key=lambda term: counts[term])
    return rarest if in_order or counts[rarest] < RARE else None


def _capped_count(connection: Connection, term: bytes) -> int:
    some = select(_T.c.image_id).where(_T.c.term == term).limit(RARE).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one())


def _placed(part: Branch, shelf: Shelf) -> list[ColumnElement[bool]]:
    """The branch's place in the index, in the order of its columns."""
    if isinstance(part, OfOwner):
        return [_I.c.shelf == int(shelf), _I.c.owner == part.owner, _I.c.visibility == str(part.visibility)]
    if isinstance(part, OfMember):
        owner = _I.c.owner == part.owner if part.owner is not None else _I.c.owner != part.member
        return [_I.c.shelf == int(shelf), _I.c.visibility == str(Visibility.SHARED), owner]
    return [_I.c.shelf == int(shelf), _I.c.visibility == str(part.visibility)]


def _membership(part: OfMember) -> list[ColumnElement[bool]]:
    accepted = [] if part.status is None else [_M.c.status == str(part.status)]
    return [_M.c.member == part.member, *accepted]


def _order(query: Query, part: Branch, *, leads: bool) -> list[ColumnElement[Any]]:
    """The columns to sort by, of the table that leads: then its index delivers them in order."""
    if query.has_default_order and leads:
        return [_T.c.created_at, _T.c.image_id]
    if query.has_default_order and isinstance(part, OfMember):
        return [_M.c.image_created_at, _M.c.image_id]
    return [_SORTED[sort.key] for sort in query.sort]


def _beyond(connection: Connection, query: Query, order: Sequence[ColumnElement[Any]]) -> ColumnElement[bool]:
    """What comes after the marker."""
    values = [_sort_value(query.marker, sort) for sort in query.sort]
    directions = {sort.descending for sort in query.sort}
    if len(directions) == 1 and connection.dialect.name in ("sqlite", "postgresql"):
        here, there = tuple_(*order), tuple_(*values)
        return here < there if query.sort[0].descending else here > there
    # MariaDB reads a whole index for a comparison of rows; a bound on the first column gives it a place to start.
    condition: ColumnElement[bool] | None = None
    for column, value, sort in reversed(list(zip(order, values, query.sort, strict=True))):
        further = column < value if sort.descending else column > value
        condition = further if condition is None else or_(further, and_(column == value, condition))
    first, value = order[0], values[0]
    start = first <= value if query.sort[0].descending else first >= value
    assert condition is not None  # noqa: S101 - there is always a key to sort by
    return and_(start, condition)


def _sort_value(image: Image | None, sort: Sort) -> Any:
    value = getattr(image, sort.key)
    if value is None:
        return 0 if sort.key == "size" else ""
    return str(value) if isinstance(value, str) else value


def _compare(condition: Condition) -> ColumnElement[bool]:
    # Equal names share their place in an index with the name lists sort by.
    column = _I.c.sort_name if condition.column == "name" else _I.c[condition.column]
    value: Any = condition.value
    if condition.operator == "in":
        return column.in_(value)
    if condition.operator == "within":
        return and_(column >= value[0], column < value[1])
    if condition.operator == "outside":
        return or_(column < value[0], column >= value[1])
    comparisons: dict[str, ColumnElement[bool]] = {
        "eq": column == value,
        "gte": column >= value,
        "lt": column < value,
        "lte": column <= value,
    }
    return comparisons[condition.operator]
