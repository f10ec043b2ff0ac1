"""Adopt the metadata definitions of the reference service's database: each namespace whole, or not at all and said."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection

from pipeline.imageservice.catalog.database.connection import Database
from pipeline.imageservice.catalog.metadefs import definitions, namespaces, resource_types
from pipeline.imageservice.errors import Duplicate, ServiceError
from pipeline.imageservice.lifecycle.metadefs.binding import adopted_binding
from pipeline.imageservice.lifecycle.metadefs.files import NOBODY
from pipeline.imageservice.lifecycle.other_catalog import OtherCatalog, json_object, moment
from pipeline.imageservice.model.metadefs import (
    EVERYBODY,
    IMAGE,
    Association,
    Definition,
    DefinitionKind,
    NamespaceFields,
    NamespaceVisibility,
    ResourceType,
)
from pipeline.imageservice.schema.metadef_reader import read_namespace

_PARTS = {
    DefinitionKind.OBJECT: "metadef_objects",
    DefinitionKind.PROPERTY: "metadef_properties",
    DefinitionKind.TAG: "metadef_tags",
}
_TYPES, _ASSOCIATIONS = "metadef_resource_types", "metadef_namespace_resource_types"
TABLES = ("metadef_namespaces", *_PARTS.values(), _TYPES, _ASSOCIATIONS)


_Part = TypeVar("_Part", Association, Definition)


@dataclass
class MetadefsReport:
    """What was, or would be, taken over: the number of namespaces, and of those that are here already.

    ``binding`` names those that are some project's and bind everybody's images, ``own`` those that bind their owner's.
    """

    taken: int = 0
    known: int = 0
    binding: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Adopted:
    fields: NamespaceFields
    binds: str | None
    associations: Sequence[Association]
    contents: Sequence[Definition]
    created_at: int
    updated_at: int


def adopt(
    database: Database, other: OtherCatalog, *, apply: bool, admin_projects: Collection[str] = ()
) -> MetadefsReport:
    """Take over every namespace whose name is not taken here; with ``apply`` false, only say what would happen.

    A namespace that a client could not have made here is a problem in the report, and left out. Those of
    ``admin_projects`` bind everybody's images.
    """
    report = MetadefsReport()
    if not set(TABLES) <= set(other.tables):
        return report
    types = {row["id"]: row for row in other.rows(_TYPES)}
    if apply:
        known = [ResourceType(row["name"], *_times(row)) for row in types.values()]
        database.write(partial(resource_types.make_known, types=known))
    with database.read() as connection:
        here = {one.namespace for one in namespaces.everything(connection)}
    for row in other.rows("metadef_namespaces"):
        if row["namespace"] in here:
            report.known += 1
            continue
        try:
            taken = _namespace(other, row, types, admin_projects)
            if apply:
                database.write(partial(_store, taken))
        except ServiceError as error:
            report.problems.append(f"namespace {row['namespace']} of metadata definitions is left out: {error.message}")
        else:
            report.taken += 1
            _note_binding(report, taken)
    return report


def _note_binding(report: MetadefsReport, taken: _Adopted) -> None:
    """Name it where it judges images at all, and where whom it binds is not plain."""
    if taken.fields.owner is None or not any(one.name == IMAGE for one in taken.associations):
        return
    (report.binding if taken.binds == EVERYBODY else report.own).append(taken.fields.namespace)


def _namespace(
    other: OtherCatalog,
    row: Mapping[str, Any],
    types: Mapping[int, Mapping[str, Any]],
    admin_projects: Collection[str],
) -> _Adopted:
    inside = {"namespace_id": row["id"]}
    associated = [(types[one["resource_type_id"]]["name"], one) for one in other.rows(_ASSOCIATIONS, **inside)]
    parts = {kind: other.rows(table, **inside) for kind, table in _PARTS.items()}
    document = {
        **_given(row, "namespace", "display_name", "description", "owner"),
        # Its own loader writes down neither where a file says nothing; such a namespace is meant for everybody.
        "visibility": row["visibility"] or str(NamespaceVisibility.PUBLIC),
        "protected": bool(row["protected"]),
        "resource_type_associations": [
            {"name": name, **_given(one, "prefix", "properties_target")} for name, one in associated
        ],
        "objects": [_object(one) for one in parts[DefinitionKind.OBJECT]],
        "properties": {one["name"]: json_object(one["json_schema"]) for one in parts[DefinitionKind.PROPERTY]},
        "tags": [_given(one, "name") for one in parts[DefinitionKind.TAG]],
    }
    fields, associations, contents = read_namespace(document)
    if fields.owner == NOBODY:
        fields = dataclasses.replace(fields, owner=None)
    _refuse_twins(contents)
    times = {(kind, one["name"]): _times(one) for kind, rows in parts.items() for one in rows}
    association_times = {name: _times(one) for name, one in associated}
    return _Adopted(
        fields,
        adopted_binding(fields, admin_projects),
        [_as_of(one, association_times[one.name]) for one in associations],
        [_as_of(one, times[one.kind, one.name]) for one in contents],
        *_times(row),
    )


def _refuse_twins(contents: Sequence[Definition]) -> None:
    """There, tags that differ by case only are two in some databases."""
    for key, number in Counter((one.kind, one.kind.key(one.name)) for one in contents).items():
        if number > 1:
            raise Duplicate(f"it has the {key[0]} {key[1]} more than once, but for upper and lower case")


def _object(row: Mapping[str, Any]) -> dict[str, Any]:
    document = _given(row, "name", "description")
    if row["required"]:
        document["required"] = row["required"].split(",")
    if properties := json_object(row["json_schema"]):
        document["properties"] = properties
    return document


def _given(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names if row[name] is not None}


def _times(row: Mapping[str, Any]) -> tuple[int, int]:
    created = moment(row["created_at"]) or 0
    return created, moment(row["updated_at"]) or created


def _as_of(one: _Part, times: tuple[int, int]) -> _Part:
    return dataclasses.replace(one, created_at=times[0], updated_at=times[1])


def _store(taken: _Adopted, connection: Connection) -> None:
    fields = taken.fields
    namespace = namespaces.add(
        connection,
        fields,
        fields.owner,
        taken.binds,
        created_at=taken.created_at,
        updated_at=taken.updated_at,
    )
    resource_types.associate(connection, namespace.id, taken.associations)
    for kind in DefinitionKind:
        definitions.add(connection, namespace.id, [one for one in taken.contents if one.kind is kind])
