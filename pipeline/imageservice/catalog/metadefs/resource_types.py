"""Keep types of resources, and which namespaces are for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, exists, func, insert, select
from sqlalchemy.exc import IntegrityError

from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.catalog.metadefs import versions
from pipeline.imageservice.errors import Duplicate
from pipeline.imageservice.model.images import now
from pipeline.imageservice.model.metadefs import FIRST_RESOURCE_TYPES, Association, ResourceType

_T = tables.metadef_resource_types
_A = tables.metadef_associations


def all_types(connection: Connection) -> list[ResourceType]:
    """Return every type of resource that is known, by name."""
    query = select(_T.c.name, _T.c.created_at, _T.c.updated_at).order_by(_T.c.name)
    return [ResourceType(*row) for row in connection.execute(query)]


def associations_of(connection: Connection, namespace_id: str) -> tuple[Association, ...]:
    """Return what a namespace is for, by name."""
    query = select(_A.c.resource_type, _A.c.prefix, _A.c.properties_target, _A.c.created_at, _A.c.updated_at)
    query = query.where(_A.c.namespace_id == namespace_id).order_by(_A.c.resource_type)
    return tuple(association_of(*row) for row in connection.execute(query))


def count(connection: Connection, namespace_id: str) -> int:
    """Return how many types of resources a namespace is for."""
    return int(connection.execute(select(func.count()).where(_A.c.namespace_id == namespace_id)).scalar_one())


def count_with(connection: Connection, names: Sequence[str]) -> int:
    """Return how many types would be known if these were, too."""
    known = connection.execute(select(func.count()).select_from(_T)).scalar_one()
    there = connection.execute(select(func.count()).select_from(_T).where(_T.c.name.in_(names))).scalar_one()
    return int(known) + len(set(names)) - int(there)


def forget_unused(connection: Connection) -> None:
    """Forget the types that no namespace is for, but for those that a fresh service knows."""
    unused = ~exists().where(_A.c.resource_type == _T.c.name)
    try:
        with connection.begin_nested():
            connection.execute(delete(_T).where(unused, _T.c.name.not_in(FIRST_RESOURCE_TYPES)))
    except IntegrityError:  # somebody has just found a use for one
        return


def associate(connection: Connection, namespace_id: str, new: Sequence[Association]) -> list[Association]:
    """Say that a (locked) namespace is for these types, known or not: as of now, unless the times are known.

    Raises ``Duplicate``.
    """
    if not new:
        return []
    versions.bump(connection)
    moment = now()
    make_known(connection, [ResourceType(name, moment, moment) for name in sorted({one.name for one in new})])
    new = [
        dataclasses.replace(one, created_at=one.created_at or moment, updated_at=one.updated_at or moment)
        for one in new
    ]
    rows = [
        {
            "namespace_id": namespace_id,
            "resource_type": one.name,
            "prefix": one.prefix,
            "properties_target": one.properties_target,
            "created_at": one.created_at,
            "updated_at": one.updated_at,
        }
        for one in new
    ]
    try:
        connection.execute(insert(_A), rows)
    except IntegrityError:
        names = ", ".join(one.name for one in new)
        raise Duplicate(f"The namespace is associated with {names} already, or was named one of them twice.") from None
    return new


def dissociate(connection: Connection, namespace_id: str, resource_type: str) -> Association | None:
    """Take back that a (locked) namespace is for a type; what was said, ``None`` when nothing was."""
    versions.bump(connection)
    known = [one for one in associations_of(connection, namespace_id) if one.name == resource_type]
    mine = (_A.c.namespace_id == namespace_id) & (_A.c.resource_type == resource_type)
    connection.execute(delete(_A).where(mine))
    return known[0] if known else None


def association_of(name: str, prefix: str | None, target: str | None, created_at: int, updated_at: int) -> Association:
    """Make an association of its row."""
    return Association(name, prefix, target, created_at, updated_at)


def make_known(connection: Connection, types: Sequence[ResourceType]) -> None:
    """Write down the types that are not known yet."""
    known = set(connection.execute(select(_T.c.name).where(_T.c.name.in_([one.name for one in types]))).scalars())
    for one in types:
        if one.name in known:
            continue
        row: dict[str, Any] = {"name": one.name, "created_at": one.created_at, "updated_at": one.updated_at}
        try:
            with connection.begin_nested():
                connection.execute(insert(_T), row)
        except IntegrityError:  # somebody else made it known at the same time
            continue
