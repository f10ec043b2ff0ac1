"""Keep what namespaces define: objects, properties, tags."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from pipeline.base import json_text
from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.catalog.metadefs import versions
from pipeline.imageservice.errors import Duplicate, NotFound
from pipeline.imageservice.model.images import now
from pipeline.imageservice.model.metadefs import Definition, DefinitionKind, DefinitionQuery

_T = tables.metadef_definitions
_LONGEST_NAME = 80
_COLUMNS = (_T.c.kind, _T.c.name, _T.c.document, _T.c.created_at, _T.c.updated_at)


@dataclass(frozen=True, slots=True)
class NamespaceWeight:
    """How much a namespace holds: definitions by kind, and bytes of all their documents."""

    counts: Mapping[DefinitionKind, int]
    size: int


def of_namespace(connection: Connection, namespace_id: str) -> tuple[Definition, ...]:
    """Return all that a namespace defines, in the order that lists have."""
    query = select(*_COLUMNS).where(_T.c.namespace_id == namespace_id)
    query = query.order_by(_T.c.kind, _T.c.created_at.desc(), _T.c.name_key.desc())
    return tuple(_from_row(*row) for row in connection.execute(query))


def listed(connection: Connection, namespace_id: str, query: DefinitionQuery) -> list[Definition]:
    """Return one page of a namespace's definitions of one kind. Raises ``NotFound`` for an unknown marker."""
    key, tie = _T.c[query.sort_key], _T.c.name_key
    statement = select(*_COLUMNS).where(_T.c.namespace_id == namespace_id, _T.c.kind == str(query.kind))
    if query.marker is not None:
        marker = find(connection, namespace_id, query.kind, query.marker)
        if marker is None:
            raise missing(query.kind, query.marker)
        last, name = getattr(marker, query.sort_key), query.kind.key(marker.name)
        if query.descending:
            statement = statement.where(or_(key < last, and_(key == last, tie < name)))
        else:
            statement = statement.where(or_(key > last, and_(key == last, tie > name)))
    order = (key.desc(), tie.desc()) if query.descending else (key, tie)
    rows = connection.execute(statement.order_by(*order).limit(query.limit))
    return [_from_row(*row) for row in rows]


def find(connection: Connection, namespace_id: str, kind: DefinitionKind, name: str) -> Definition | None:
    """Return one definition, by its name as it is written."""
    query = select(*_COLUMNS).where(*_one(namespace_id, kind, name), _T.c.name == name)
    row = connection.execute(query).first()
    return _from_row(*row) if row else None


def get(connection: Connection, namespace_id: str, kind: DefinitionKind, name: str) -> Definition:
    """Return one definition. Raises ``NotFound``."""
    found = find(connection, namespace_id, kind, name) if len(name) <= _LONGEST_NAME else None
    if found is None:
        raise missing(kind, name)
    return found


def weigh(connection: Connection, namespace_id: str) -> NamespaceWeight:
    """Return how much a namespace holds."""
    query = select(_T.c.kind, func.count(), func.sum(_T.c.size)).where(_T.c.namespace_id == namespace_id)
    rows = list(connection.execute(query.group_by(_T.c.kind)))
    counts = dict.fromkeys(DefinitionKind, 0) | {DefinitionKind(kind): number for kind, number, _size in rows}
    return NamespaceWeight(counts, sum(int(size) for _kind, _number, size in rows))


def add(connection: Connection, namespace_id: str, new: Sequence[Definition]) -> list[Definition]:
    """Write definitions into a (locked) namespace, made now unless their times are known.

    Raises ``Duplicate`` when one is there already, or given twice.
    """
    if not new:
        return []
    versions.bump(connection)
    moment = now()
    new = [
        dataclasses.replace(one, created_at=one.created_at or moment, updated_at=one.updated_at or moment)
        for one in new
    ]
    rows = [{"namespace_id": namespace_id, "created_at": one.created_at, **_row_of(one, one.updated_at)} for one in new]
    try:
        connection.execute(insert(_T), rows)
    except IntegrityError:
        what = new[0].name if len(new) == 1 else "one of those given"
        raise _taken(new[0].kind, what) from None
    return new


def change(connection: Connection, namespace_id: str, before: Definition, after: Definition) -> Definition:
    """Replace a definition of a (locked) namespace. Raises ``Duplicate`` when its new name is taken."""
    versions.bump(connection)
    moment = now()
    try:
        mine = _one(namespace_id, before.kind, before.name)
        connection.execute(update(_T).where(*mine).values(**_row_of(after, moment)))
    except IntegrityError:
        raise _taken(after.kind, after.name) from None
    return Definition(after.kind, after.name, after.document, before.created_at, moment)


def remove(connection: Connection, namespace_id: str, definition: Definition) -> None:
    """Delete one definition."""
    versions.bump(connection)
    connection.execute(delete(_T).where(*_one(namespace_id, definition.kind, definition.name)))


def clear(connection: Connection, namespace_id: str, kind: DefinitionKind) -> int:
    """Delete all definitions of one kind; how many there were."""
    versions.bump(connection)
    mine = (_T.c.namespace_id == namespace_id) & (_T.c.kind == str(kind))
    return connection.execute(delete(_T).where(mine)).rowcount


def size_of(definition: Definition) -> int:
    """Return the bytes that a definition's document takes."""
    return len(_text_of(definition).encode())


def missing(kind: DefinitionKind, name: str) -> NotFound:
    """Return the error for a definition that is not there."""
    return NotFound(f"The metadata definition {kind} {name[:80]} was not found in the namespace.")


def _one(namespace_id: str, kind: DefinitionKind, name: str) -> tuple[Any, ...]:
    return _T.c.namespace_id == namespace_id, _T.c.kind == str(kind), _T.c.name_key == kind.key(name)


def _row_of(definition: Definition, moment: int) -> dict[str, Any]:
    text = _text_of(definition)
    return {
        "kind": str(definition.kind),
        "name_key": definition.kind.key(definition.name),
        "name": definition.name,
        "document": text,
        "size": len(text.encode()),
        "updated_at": moment,
    }


def _text_of(definition: Definition) -> str:
    return json.dumps(dict(definition.document), ensure_ascii=False, separators=(",", ":"))


def _from_row(kind: str, name: str, document: str, created_at: int, updated_at: int) -> Definition:
    return Definition(DefinitionKind(kind), name, json_text.loads(document), created_at, updated_at)


def _taken(kind: DefinitionKind, name: str) -> Duplicate:
    return Duplicate(f"The metadata definition {kind} {name} already exists in the namespace.")
