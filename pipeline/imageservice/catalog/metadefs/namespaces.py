"""Keep namespaces of metadata definitions, and list them with their associations in one statement."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    and_,
    cast,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.catalog.database.tables import AnyRow
from pipeline.imageservice.catalog.metadefs import versions
from pipeline.imageservice.catalog.metadefs.resource_types import association_of
from pipeline.imageservice.errors import Duplicate
from pipeline.imageservice.model.images import now
from pipeline.imageservice.model.metadefs import (
    Association,
    MetadefNamespace,
    NamespaceFields,
    NamespaceQuery,
    NamespaceView,
    NamespaceVisibility,
)

_T = tables.metadef_namespaces
_A = tables.metadef_associations
_FIELDS = [field.name for field in dataclasses.fields(MetadefNamespace)]
_COLUMNS = [_T.c[name] for name in _FIELDS]
_NULLABLE = ("display_name", "description", "owner")


def find(connection: Connection, name: str, *, lock: bool = False) -> MetadefNamespace | None:
    """Return the namespace of this name; with ``lock`` nobody else changes it until the transaction ends."""
    query = select(*_COLUMNS).where(_T.c.namespace == name)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return _from_row(row) if row else None


def add(
    connection: Connection,
    fields: NamespaceFields,
    owner: str | None,
    binds: str | None,
    *,
    created_at: int = 0,
    updated_at: int = 0,
) -> MetadefNamespace:
    """Write down a new namespace, made now unless its times are known. Raises ``Duplicate``."""
    versions.bump(connection)
    moment = now()
    namespace = _filled(str(uuid.uuid4()), fields, owner, created_at or moment, updated_at or moment, binds)
    try:
        connection.execute(insert(_T), _row_of(namespace))
    except IntegrityError:
        raise _taken(fields.namespace) from None
    return namespace


def change(
    connection: Connection, before: MetadefNamespace, fields: NamespaceFields, owner: str | None, binds: str | None
) -> MetadefNamespace:
    """Replace the fields of the namespace ``before`` (locked). Raises ``Duplicate`` when its new name is taken."""
    versions.bump(connection)
    after = _filled(before.id, fields, owner, before.created_at, now(), binds)
    try:
        connection.execute(update(_T).where(_T.c.id == before.id).values(**_row_of(after)))
    except IntegrityError:
        raise _taken(fields.namespace) from None
    return after


def bind(connection: Connection, namespace: MetadefNamespace, binds: str | None) -> None:
    """Say anew whom a (locked) namespace binds."""
    versions.bump(connection)
    connection.execute(update(_T).where(_T.c.id == namespace.id).values(binds=binds))


def remove(connection: Connection, namespace: MetadefNamespace) -> None:
    """Delete a namespace with everything in it."""
    versions.bump(connection)
    connection.execute(delete(_T).where(_T.c.id == namespace.id))


def remove_all(connection: Connection) -> int:
    """Delete every namespace with everything in it; how many there were."""
    versions.bump(connection)
    return connection.execute(delete(_T)).rowcount


def everything(connection: Connection) -> list[MetadefNamespace]:
    """Return every namespace, by name."""
    return [_from_row(row) for row in connection.execute(select(*_COLUMNS).order_by(_T.c.namespace))]


def count(connection: Connection, owner: str | None) -> int:
    """Return how many namespaces a project owns."""
    return int(connection.execute(select(func.count()).where(_T.c.owner == owner)).scalar_one())


def page(connection: Connection, query: NamespaceQuery) -> list[NamespaceView]:
    """Return one page of namespaces, each with its associations: one statement, whatever their number."""
    inner = _page_of(query).subquery()
    joined = select(*inner.c, _A.c.resource_type, _A.c.prefix, _A.c.properties_target, _A.c.created_at, _A.c.updated_at)
    joined = joined.select_from(inner.outerjoin(_A, _A.c.namespace_id == inner.c.id))
    key, name = _sort_column(inner.c, query.sort_key), inner.c.namespace
    order = (key.desc(), name.desc()) if query.descending else (key, name)
    found: dict[str, tuple[MetadefNamespace, list[Association]]] = {}
    width = len(_FIELDS)
    for row in connection.execute(joined.order_by(*order, _A.c.resource_type)):
        namespace = _from_row(row[:width])
        associations = found.setdefault(namespace.id, (namespace, []))[1]
        if row[width] is not None:
            associations.append(association_of(*row[width:]))
    return [NamespaceView(namespace, tuple(associations)) for namespace, associations in found.values()]


def _page_of(query: NamespaceQuery) -> Select[Any]:
    key, name = _sort_column(_T.c, query.sort_key), _T.c.namespace
    statement = select(*_COLUMNS).where(*_conditions(query))
    if query.marker is not None:
        last = getattr(query.marker, query.sort_key)
        last = "" if last is None else int(last) if isinstance(last, bool) else last
        if query.descending:
            statement = statement.where(or_(key < last, and_(key == last, name < query.marker.namespace)))
        else:
            statement = statement.where(or_(key > last, and_(key == last, name > query.marker.namespace)))
    order = (key.desc(), name.desc()) if query.descending else (key, name)
    return statement.order_by(*order).limit(query.limit)


def _conditions(query: NamespaceQuery) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if not query.sees_all:
        is_public = _T.c.visibility == str(NamespaceVisibility.PUBLIC)
        found.append(is_public if query.project is None else or_(is_public, _T.c.owner == query.project))
    if query.visibility is not None:
        found.append(_T.c.visibility == str(query.visibility))
    if query.resource_types:
        found.append(exists().where(_A.c.namespace_id == _T.c.id, _A.c.resource_type.in_(query.resource_types)))
    return found


def _sort_column(columns: Any, key: str) -> Any:
    if key == "protected":  # truth values have no order in every database
        return cast(columns[key], Integer)
    return func.coalesce(columns[key], "") if key in _NULLABLE else columns[key]


def _filled(
    identifier: str, fields: NamespaceFields, owner: str | None, created_at: int, updated_at: int, binds: str | None
) -> MetadefNamespace:
    return MetadefNamespace(
        identifier,
        fields.namespace,
        fields.display_name,
        fields.description,
        fields.visibility,
        fields.protected,
        owner,
        created_at,
        updated_at,
        binds,
    )


def _row_of(namespace: MetadefNamespace) -> dict[str, Any]:
    return {name: getattr(namespace, name) for name in _FIELDS} | {"visibility": str(namespace.visibility)}


def _from_row(row: AnyRow | tuple[Any, ...]) -> MetadefNamespace:
    fields = dict(zip(_FIELDS, row, strict=True))
    fields["visibility"] = NamespaceVisibility(fields["visibility"])
    return MetadefNamespace(**fields)


def _taken(name: str) -> Duplicate:
    return Duplicate(f"The metadata definition namespace {name} already exists.")
