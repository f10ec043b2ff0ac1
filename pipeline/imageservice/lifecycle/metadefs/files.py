"""Load definition files, write them, and empty the catalog of them: acts of the operator, who answers to no policy.

A file is one JSON object, a namespace with all that is in it, as Glance's own are.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from pipeline.base import atomic, json_text
from pipeline.base.errors import PipelineError
from pipeline.imageservice.catalog.metadefs import definitions, namespaces, resource_types
from pipeline.imageservice.lifecycle.metadefs import room
from pipeline.imageservice.lifecycle.metadefs.binding import operators_binding
from pipeline.imageservice.model.metadefs import (
    Association,
    Definition,
    DefinitionKind,
    MetadefNamespace,
    NamespaceFields,
    NamespaceView,
)
from pipeline.imageservice.schema.metadef_reader import read_namespace
from pipeline.imageservice.service import Service

# The word for an owner in files that come with Glance: no project of that id, but the operator.
NOBODY = "admin"
_PLAIN = re.compile(r"[A-Za-z0-9_]+(::[A-Za-z0-9_]+)*")


class Merge(StrEnum):
    """What becomes of a namespace that a file names and that exists."""

    SKIP = "skip"
    ADD_MISSING = "add what is missing"
    PREFER_NEW = "prefer new"
    OVERWRITE = "overwrite"


@dataclass
class LoadReport:
    """What became of each file: namespaces by what was done, and mistakes by file."""

    created: list[str] = field(default_factory=list)
    merged: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)


_Contents = tuple[NamespaceFields, list[Association], list[Definition]]


def load(service: Service, path: Path, merge: Merge = Merge.SKIP) -> LoadReport:
    """Load a file, or every ``.json`` file of a folder: each whole or not at all.

    A file without ``visibility`` is public. Raises ``PipelineError`` when there is nothing to load; a file that cannot
    be is a mistake in the report.
    """
    report = LoadReport()
    for file in _files(path):
        try:
            contents = _read(file, service.settings.api.max_body)
            done = service.database.write(partial(_write, service, contents, merge))
        except PipelineError as error:
            report.mistakes.append(f"{file}: {error.message}")
        else:
            {"created": report.created, "merged": report.merged, "skipped": report.skipped}[done].append(
                contents[0].namespace
            )
    return report


def export(service: Service, folder: Path) -> list[Path]:
    """Write a file for each namespace into a folder, which must hold none yet; what is loaded from there is the same.

    Raises ``PipelineError``.
    """
    if folder.is_dir() and any(folder.glob("*.json")):
        raise PipelineError(
            f"{folder} holds JSON files already", hint="name a new folder: old files would stay among new"
        )
    written: list[Path] = []
    with service.database.read() as connection:
        for namespace in namespaces.everything(connection):
            view = NamespaceView(
                namespace,
                resource_types.associations_of(connection, namespace.id),
                definitions.of_namespace(connection, namespace.id),
            )
            file = folder / f"{_file_name(namespace.namespace)}.json"
            with atomic.new_file(file) as temporary:
                text = json.dumps(
                    document_of(view.namespace, view.associations, view.definitions),
                    ensure_ascii=False,
                    indent=4,
                    sort_keys=True,
                )
                temporary.write_text(f"{text}\n", encoding="utf-8")
            written.append(file)
    return written


def unload(service: Service) -> int:
    """Delete every namespace, protected ones too; how many there were. Types of resources stay known."""
    return service.database.write(namespaces.remove_all)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise PipelineError(f"there is no file or folder {path}")
    found = sorted(path.glob("*.json"))
    if not found:
        raise PipelineError(
            f"there is no .json file in {path}", hint="name the folder of definition files, or one file"
        )
    return found


def _read(file: Path, longest: int) -> _Contents:
    try:
        with file.open("rb") as source:
            raw = source.read(longest + 1)
        if len(raw) > longest:
            raise PipelineError(f"it is longer than {longest} bytes (api.max_body)")
        document = json_text.loads(raw)
    except OSError as error:
        raise PipelineError(f"it cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise PipelineError(f"it is not JSON: {error}") from None
    if isinstance(document, dict):
        document = {"visibility": "public", **document}
    fields, associations, contents = read_namespace(document)
    if fields.owner == NOBODY:
        fields = dataclasses.replace(fields, owner=None)
    return fields, associations, contents


def _write(service: Service, given: _Contents, merge: Merge, connection: Connection) -> str:
    fields, associations, contents = given
    binding = operators_binding(fields.owner)
    before = namespaces.find(connection, fields.namespace, lock=True)
    if before is None:
        room.check_namespaces(service, connection, fields.owner)
        _fill(service, connection, namespaces.add(connection, fields, fields.owner, binding), associations, contents)
        return "created"
    if merge is Merge.SKIP:
        return "skipped"
    known = definitions.of_namespace(connection, before.id)
    associated = resource_types.associations_of(connection, before.id)
    if merge is not Merge.ADD_MISSING:
        namespaces.change(connection, before, fields, fields.owner, binding)
    if merge is Merge.ADD_MISSING:
        there, types_there = {_key(one) for one in known}, {one.name for one in associated}
        contents = [one for one in contents if _key(one) not in there]
        associations = [one for one in associations if one.name not in types_there]
    else:
        replaced, types = {_key(one) for one in contents}, {one.name for one in associations}
        for one in known:
            if merge is Merge.OVERWRITE or _key(one) in replaced:
                definitions.remove(connection, before.id, one)
        for association in associated:
            if merge is Merge.OVERWRITE or association.name in types:
                resource_types.dissociate(connection, before.id, association.name)
    _fill(service, connection, before, associations, contents)
    return "merged"


def _fill(
    service: Service,
    connection: Connection,
    namespace: MetadefNamespace,
    associations: Sequence[Association],
    contents: Sequence[Definition],
) -> None:
    room.check_associations(service, connection, namespace.id, associations)
    room.check_definitions(service, connection, namespace.id, contents)
    resource_types.associate(connection, namespace.id, associations)
    for kind in DefinitionKind:
        definitions.add(connection, namespace.id, [one for one in contents if one.kind is kind])


def _key(definition: Definition) -> tuple[DefinitionKind, str]:
    return definition.kind, definition.kind.key(definition.name)


def document_of(
    namespace: MetadefNamespace | NamespaceFields,
    associations: Sequence[Association],
    contents: Sequence[Definition],
) -> dict[str, Any]:
    """Return a namespace with all that is in it, as a file has it."""
    by_kind = {
        kind: sorted((one for one in contents if one.kind is kind), key=lambda one: one.name) for kind in DefinitionKind
    }
    document = {
        "namespace": namespace.namespace,
        "display_name": namespace.display_name,
        "description": namespace.description,
        "visibility": str(namespace.visibility),
        "protected": namespace.protected,
        "owner": namespace.owner,
        "resource_type_associations": [_association(one) for one in sorted(associations, key=lambda one: one.name)]
        or None,
        "properties": {one.name: dict(one.document) for one in by_kind[DefinitionKind.PROPERTY]} or None,
        "objects": [
            # Others' loaders take an object without properties for a mistake of theirs.
            {"properties": {}, **one.document, "name": one.name}
            for one in by_kind[DefinitionKind.OBJECT]
        ]
        or None,
        "tags": [{"name": one.name} for one in by_kind[DefinitionKind.TAG]] or None,
    }
    return {name: value for name, value in document.items() if value is not None}


def _association(association: Association) -> dict[str, str]:
    fields = {
        "name": association.name,
        "prefix": association.prefix,
        "properties_target": association.properties_target,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _file_name(namespace: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_]+", "-", namespace).strip("-") or "namespace"
    if _PLAIN.fullmatch(namespace):
        return plain
    return f"{plain}-{hashlib.sha256(namespace.encode()).hexdigest()[:12]}"
