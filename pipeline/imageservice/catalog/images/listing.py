"""List images: a page costs the same among a thousand images and among a million.

Each branch (see branches.py) is read in order from an index, at most a page of it; the union of these is sorted and
cut. A filter by property or tag reads the term's rows instead, which stand in the default order too. With several of
them the rarest leads (a capped count says which is), the others are looked up. For any other order, a rare filter's
rows are sorted, and a common one is looked up while the images are read in their order.

The statements are put together as text, with every value bound: to build them from SQLAlchemy's objects takes thirty
times as long as the database takes to answer them.
"""

# ruff: noqa: S608 - only names from this module stand in the text, every value is bound

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import BigInteger, Connection, TextualSelect, column, text

from pipeline.imageservice.catalog.database.tables import AnyRow
from pipeline.imageservice.catalog.images import branches, filter_index
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.catalog.images.branches import Branch, OfMember, OfOwner
from pipeline.imageservice.model.images import Image, ImageVisibility, ListingState
from pipeline.imageservice.model.queries import Condition, Query, Sort

RARE = 2000  # rows that may as well be sorted
_TERMS, _MEMBERS, _IMAGES = "catalog_terms t", "catalog_members m", "catalog_images i"
_COLUMNS = ", ".join(f"i.{column.name}" for column in image_records.columns())
_SORTED = {
    "name": "i.sort_name",
    "status": "i.status",
    "container_format": "COALESCE(i.container_format, '')",
    "disk_format": "COALESCE(i.disk_format, '')",
    "size": "COALESCE(i.size, 0)",
    "id": "i.id",
    "created_at": "i.created_at",
    "updated_at": "i.updated_at",
}
_COMPARISONS = {"eq": "=", "gte": ">=", "lt": "<", "lte": "<="}


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list; with ``was_cut`` it ended for the bytes of its images, before its limit."""

    images: list[Image]
    was_cut: bool = False


def page(connection: Connection, query: Query, *, most_bytes: int | None = None) -> Page:
    """Return at most ``query.limit`` images, in order, with their locations and notes.

    No image follows the one with which properties and tags reach ``most_bytes``. What would be too much is not read.
    """
    parts = branches.of_query(query) if query.limit > 0 else []
    if not parts:
        return Page([])
    values = _Values()
    selects = [_branch(connection, query, part, values) for part in parts]
    union = " UNION ALL ".join(f"SELECT * FROM ({select}) b{number}" for number, select in enumerate(selects))
    order = ", ".join(f"p.s{number}{_direction(sort)}" for number, sort in enumerate(query.sort))
    cut = f"SELECT * FROM ({union}) p ORDER BY {order} LIMIT {values.bind(query.limit)}"
    if most_bytes is None:
        statement = f"SELECT {_COLUMNS} FROM ({cut}) p JOIN {_IMAGES} ON i.id = p.image_id ORDER BY {order}"
        return Page(image_records.with_parts(connection, connection.execute(_typed(statement), values.bound)))
    weight = f"COALESCE(i.weight, {_LENGTH[connection.dialect.name]})"
    weighed = f"SELECT p.*, {weight} AS weight FROM ({cut}) p JOIN {_IMAGES} ON i.id = p.image_id"
    sums = f"SELECT p.*, SUM(p.weight) OVER (ORDER BY {order} ROWS UNBOUNDED PRECEDING) AS total FROM ({weighed}) p"
    statement = (
        f"SELECT {_COLUMNS}, p.total FROM ({sums}) p JOIN {_IMAGES} ON i.id = p.image_id "
        f"WHERE p.total - p.weight < {values.bind(most_bytes)} ORDER BY {order}"
    )
    rows = connection.execute(_typed(statement, "total"), values.bound).all()
    images = image_records.with_parts(connection, [cast(AnyRow, row[:-1]) for row in rows])
    return Page(images, was_cut=bool(rows) and len(rows) < query.limit and rows[-1][-1] >= most_bytes)


# Bytes of an image's document, where the row does not say how much there is in it.
_LENGTH = {
    "sqlite": "LENGTH(CAST(i.document AS BLOB))",
    "postgresql": "OCTET_LENGTH(CAST(i.document AS TEXT))",
    "mysql": "OCTET_LENGTH(i.document)",
    "mariadb": "OCTET_LENGTH(i.document)",
}


@functools.lru_cache(maxsize=1024)
def _typed(statement: str, *more: str) -> TextualSelect:
    """Return the text as a statement: rows are converted like those of the table, with ``more`` numbers behind them."""
    return text(statement).columns(*image_records.columns(), *(column(name, BigInteger) for name in more))


class _Values:
    """The values of a statement, by the names that stand for them in its text."""

    def __init__(self) -> None:
        self.bound: dict[str, Any] = {}

    def bind(self, value: Any) -> str:
        """Return the name that stands for ``value``."""
        name = f"v{len(self.bound)}"
        self.bound[name] = str(value) if isinstance(value, str) else value
        return f":{name}"


def _branch(connection: Connection, query: Query, part: Branch, values: _Values) -> str:
    state = ListingState.HIDDEN if query.hidden else ListingState.LISTED
    found = [
        filter_index.digest(part.scope(state), filter_index.PROPERTY, name, value) for name, value in query.properties
    ]
    found += [filter_index.digest(part.scope(state), filter_index.TAG, tag, "") for tag in query.tags]
    leader = _leader(connection, query, part, found)
    source, where = _IMAGES, []
    if leader is not None:
        source = f"{_TERMS} JOIN {_IMAGES} ON i.id = t.image_id"
        where.append(f"t.term = {values.bind(leader)}")
        if isinstance(part, OfMember):
            where.append(f"EXISTS (SELECT 1 FROM {_MEMBERS} WHERE m.image_id = i.id AND {_membership(part, values)})")
    elif isinstance(part, OfMember):
        source = f"{_MEMBERS} JOIN {_IMAGES} ON i.id = m.image_id"
        where.append(_membership(part, values))
    where.append(_location(part, state, values))
    where += [_compare(condition, values) for condition in query.conditions]
    where += [
        f"EXISTS (SELECT 1 FROM catalog_terms x WHERE x.term = {values.bind(term)} "
        "AND x.created_at = i.created_at AND x.image_id = i.id)"
        for term in found
        if term != leader
    ]
    keys = _keys(query, part, leads=leader is not None)
    if query.marker is not None:
        where.append(_beyond(connection, query, keys, values))
    chosen = ", ".join(f"{key} AS s{number}" for number, key in enumerate(keys))
    order = ", ".join(f"{key}{_direction(sort)}" for key, sort in zip(keys, query.sort, strict=True))
    limit = values.bind(query.limit)
    return f"SELECT i.id AS image_id, {chosen} FROM {source} WHERE {' AND '.join(where)} ORDER BY {order} LIMIT {limit}"


def _leader(connection: Connection, query: Query, part: Branch, found: Sequence[bytes]) -> bytes | None:
    """Return the term whose rows are read first; ``None`` to read the branch's own index."""
    if not found:
        return None
    in_order = query.has_default_order and not isinstance(part, OfMember)
    if in_order and len(found) == 1:
        return found[0]
    counts = {term: _capped_count(connection, term) for term in found}
    rarest = min(counts, key=lambda term: counts[term])
    return rarest if in_order or counts[rarest] < RARE else None


_COUNT = text("SELECT COUNT(*) FROM (SELECT 1 FROM catalog_terms WHERE term = :term LIMIT :most) found")


def _capped_count(connection: Connection, term: bytes) -> int:
    return int(connection.execute(_COUNT, {"term": term, "most": RARE}).scalar_one())


def _location(part: Branch, state: ListingState, values: _Values) -> str:
    """Return the branch's place in the index, in the order of its columns."""
    first = f"i.shelf = {values.bind(int(state))}"
    if isinstance(part, OfOwner):
        return f"{first} AND i.owner = {values.bind(part.owner)} AND i.visibility = {values.bind(part.visibility)}"
    if isinstance(part, OfMember):
        sign, owner = ("=", part.owner) if part.owner is not None else ("<>", part.member)
        shared = f"i.visibility = {values.bind(ImageVisibility.SHARED)}"
        return f"{first} AND {shared} AND i.owner {sign} {values.bind(owner)}"
    return f"{first} AND i.visibility = {values.bind(part.visibility)}"


def _membership(part: OfMember, values: _Values) -> str:
    member = f"m.member = {values.bind(part.member)}"
    return member if part.status is None else f"{member} AND m.status = {values.bind(part.status)}"


def _keys(query: Query, part: Branch, *, leads: bool) -> list[str]:
    """Return what to sort by, in the table that leads: then its index delivers it in order."""
    if query.has_default_order and leads:
        return ["t.created_at", "t.image_id"]
    if query.has_default_order and isinstance(part, OfMember):
        return ["m.image_created_at", "m.image_id"]
    return [_SORTED[sort.key] for sort in query.sort]


def _direction(sort: Sort) -> str:
    return " DESC" if sort.descending else ""


def _beyond(connection: Connection, query: Query, keys: Sequence[str], values: _Values) -> str:
    """Return what comes after the marker."""
    names = [values.bind(_sort_value(query.marker, sort)) for sort in query.sort]
    signs = ["<" if sort.descending else ">" for sort in query.sort]
    if len(set(signs)) == 1 and connection.dialect.name in ("sqlite", "postgresql"):
        return f"({', '.join(keys)}) {signs[0]} ({', '.join(names)})"
    # MariaDB reads a whole index for a comparison of rows; a bound on the first key gives it a place to start.
    condition = ""
    for key, name, sign in reversed(list(zip(keys, names, signs, strict=True))):
        condition = f"{key} {sign} {name}" + (f" OR ({key} = {name} AND ({condition}))" if condition else "")
    return f"{keys[0]} {signs[0]}= {names[0]} AND ({condition})"


def _sort_value(image: Image | None, sort: Sort) -> Any:
    value = getattr(image, sort.key)
    return value if value is not None else 0 if sort.key == "size" else ""


def _compare(condition: Condition, values: _Values) -> str:
    # Equal names share their place in an index with the name lists sort by.
    column = "i.sort_name" if condition.column == "name" else f"i.{condition.column}"
    value: Any = condition.value
    if condition.operator == "in":
        return f"{column} IN ({', '.join(values.bind(item) for item in value)})"
    if condition.operator == "within":
        return f"{column} >= {values.bind(value[0])} AND {column} < {values.bind(value[1])}"
    if condition.operator == "outside":
        return f"({column} < {values.bind(value[0])} OR {column} >= {values.bind(value[1])})"
    return f"{column} {_COMPARISONS[condition.operator]} {values.bind(value)}"
