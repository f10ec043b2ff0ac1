"""Load the default catalogue of metadata definitions and bring it up to date, and leave what somebody changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection

from pipeline.image.metadefs import catalogue
from pipeline.imageservice.catalog.database.connection import Database
from pipeline.imageservice.catalog.metadefs import defaults, definitions, namespaces, resource_types
from pipeline.imageservice.lifecycle.metadefs.files import document_of
from pipeline.imageservice.model.metadefs import (
    EVERYBODY,
    Association,
    Definition,
    DefinitionKind,
    MetadefNamespace,
    NamespaceFields,
)
from pipeline.imageservice.schema.metadef_reader import read_namespace


@dataclass
class CatalogueReport:
    """What became of each namespace. ``changed``: somebody changed it, or had one of this name before, so it stayed;
    ``deleted``: somebody deleted it, so it stays away.
    """

    created: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)


class Existing(StrEnum):
    """What becomes of what somebody did to a namespace of the catalogue."""

    LEAVE = "leave"  # what was changed and what was deleted
    ADD_DELETED = "add what was deleted"
    OVERWRITE = "overwrite"


_Contents = tuple[NamespaceFields, Sequence[Association], Sequence[Definition]]


def was_loaded(database: Database) -> bool:
    """Return whether the catalogue was ever loaded into the database."""
    with database.read() as connection:
        return bool(defaults.remembered(connection))


def is_current(database: Database) -> bool:
    """Return whether the catalogue, as it is now, was loaded into the database."""
    with database.read() as connection:
        return defaults.remembered(connection).get(defaults.WHOLE) == catalogue.digest()


def load(database: Database, how: Existing = Existing.LEAVE) -> CatalogueReport:
    """Load the catalogue, in one transaction."""
    documents = [read_namespace(document) for document in catalogue.documents()]
    return database.write(lambda connection: _load(connection, documents, how))


def _load(connection: Connection, documents: Sequence[_Contents], how: Existing) -> CatalogueReport:
    report, before = CatalogueReport(), defaults.remembered(connection)
    digests = {}
    for contents in documents:
        name = contents[0].namespace
        digests[name] = _load_one(connection, contents, before.get(name), how, report)
    kept = {name: digest for name, digest in digests.items() if digest is not None}
    defaults.remember(connection, {**kept, defaults.WHOLE: catalogue.digest()})
    return report


def _load_one(
    connection: Connection, contents: _Contents, remembered: str | None, how: Existing, report: CatalogueReport
) -> str | None:
    """Load one namespace; the digest to remember, ``None`` for one that is somebody else's."""
    fields, associations, defined = contents
    name, new = fields.namespace, _digest(*contents)
    there = namespaces.find(connection, name, lock=True)
    if there is None:
        if remembered is not None and how is Existing.LEAVE:
            report.deleted.append(name)
            return remembered
        _fill(connection, namespaces.add(connection, fields, None, EVERYBODY), associations, defined)
        report.created.append(name)
        return new
    found = definitions.of_namespace(connection, there.id)
    associated = resource_types.associations_of(connection, there.id)
    present = _digest(there, associated, found)
    if present == new and there.binds == EVERYBODY:
        report.unchanged.append(name)
        return new
    if present != remembered and present != new and how is not Existing.OVERWRITE:
        report.changed.append(name)
        return remembered
    for kind in DefinitionKind:
        definitions.clear(connection, there.id, kind)
    for association in associated:
        resource_types.dissociate(connection, there.id, association.name)
    _fill(connection, namespaces.change(connection, there, fields, None, EVERYBODY), associations, defined)
    report.updated.append(name)
    return new


def _fill(
    connection: Connection,
    namespace: MetadefNamespace,
    associations: Sequence[Association],
    defined: Sequence[Definition],
) -> None:
    """Write what a namespace defines. The operator's limits are for what others bring."""
    resource_types.associate(connection, namespace.id, associations)
    for kind in DefinitionKind:
        definitions.add(connection, namespace.id, [one for one in defined if one.kind is kind])


def _digest(
    namespace: MetadefNamespace | NamespaceFields, associations: Sequence[Association], defined: Sequence[Definition]
) -> str:
    document: Mapping[str, Any] = document_of(namespace, associations, defined)
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
