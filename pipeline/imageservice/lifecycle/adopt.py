"""Adopt the catalog of the reference service: everything its database knows of images, under the same ids, and its
metadata definitions.

The other database is only read. What cannot be taken over as it is, is said, image by image; a dry run says it without
writing anything. Adopting again takes over what is new since.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, insert, select

from pipeline.base.progress import Progress, nothing
from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.catalog.database.connection import Database
from pipeline.imageservice.catalog.images import locations, members, service_notes
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.lifecycle.metadefs import adopt as metadefs
from pipeline.imageservice.lifecycle.other_catalog import OtherCatalog, json_object, moment, opened
from pipeline.imageservice.model.images import Image, ImageStatus, ImageVisibility, MemberStatus, now
from pipeline.imageservice.stores.collection import Stores

_BATCH = 200
_PARTS = ("image_properties", "image_tags", "image_members", "image_locations")
_NEEDED = {name: {"image_id"} for name in _PARTS} | {
    "images": {"visibility", "os_hidden", "os_hash_value"},
    "image_locations": {"meta_data", "status"},
}
_UNFINISHED = (ImageStatus.SAVING, ImageStatus.UPLOADING, ImageStatus.IMPORTING)
_PREFIX = "os_glance_"
_KEPT_NOTES = (service_notes.IMPORTING_TO_STORES, service_notes.FAILED_IMPORT)


@dataclass
class AdoptionReport:
    """What was, or would be, taken over; ``problems`` say what will not be as it was."""

    statuses: Counter[str] = field(default_factory=Counter)
    parts: Counter[str] = field(default_factory=Counter)
    stores: Counter[str] = field(default_factory=Counter)
    known: int = 0
    problems: list[str] = field(default_factory=list)
    metadefs: metadefs.MetadefsReport = field(default_factory=metadefs.MetadefsReport)


@dataclass(frozen=True)
class _Found:
    """One image as the other service has it."""

    row: Mapping[str, Any]
    parts: Mapping[str, Sequence[Mapping[str, Any]]]


def adopt(
    database: Database,
    stores: Stores,
    source_url: str,
    *,
    apply: bool,
    renamed: Mapping[str, str] | None = None,
    admin_projects: Collection[str] = (),
    progress: Progress = nothing,
) -> AdoptionReport:
    """Take over the images and metadata definitions of the database at ``source_url``.

    With ``apply`` false, only say what would happen.
    ``renamed``: the other service's store ids → ours. ``admin_projects``: whose namespaces bind everybody's images,
    since the other database does not say who wrote what. Raises ``PipelineError`` when that database cannot be read.
    """
    report = AdoptionReport()
    work = _Adoption(stores, dict(renamed or {}), report)
    done = 0
    with opened(source_url, _NEEDED, optional=metadefs.TABLES) as other:
        for batch in _batches(other):
            found = work.translate(database, batch)
            if apply:
                database.write(lambda connection, items=tuple(found): _store(connection, items))  # type: ignore[misc]
            done += len(batch)
            progress.advance(done, None, "images")
        report.metadefs = metadefs.adopt(database, other, apply=apply, admin_projects=admin_projects)
    report.problems += report.metadefs.problems
    return report


def _batches(other: OtherCatalog) -> Iterator[list[_Found]]:
    images, last = other.tables["images"], ""
    while True:
        query = select(images).where(images.c.id > last).order_by(images.c.id).limit(_BATCH)
        rows = [dict(row) for row in other.connection.execute(query).mappings()]
        if not rows:
            return
        last = rows[-1]["id"]
        yield _with_parts(other, rows)


def _with_parts(other: OtherCatalog, rows: Sequence[Mapping[str, Any]]) -> list[_Found]:
    ids = [row["id"] for row in rows]
    parts: dict[str, dict[str, list[Mapping[str, Any]]]] = {row["id"]: {name: [] for name in _PARTS} for row in rows}
    for name in _PARTS:
        table = other.tables[name]
        query = select(table).where(table.c.image_id.in_(ids)).order_by(table.c.id)
        for part in other.connection.execute(query).mappings():
            parts[part["image_id"]][name].append(dict(part))
    return [_Found(row, parts[row["id"]]) for row in rows]


@dataclass(frozen=True)
class _Taken:
    """One image in our terms; ``image`` is ``None`` for an id that is only marked as used."""

    image_id: str
    image: Image | None = None
    image_locations: Sequence[tuple[str, str | None, Mapping[str, Any]]] = ()
    shared: Sequence[tuple[str, MemberStatus]] = ()
    notes: Mapping[str, str] = field(default_factory=dict)


class _Adoption:
    """Translates, and keeps the report."""

    def __init__(self, stores: Stores, renamed: dict[str, str], report: AdoptionReport) -> None:
        self._stores, self._renamed, self._report = stores, renamed, report

    def translate(self, database: Database, batch: Sequence[_Found]) -> list[_Taken]:
        """Those of the batch that we do not have yet, in our terms."""
        ids = [found.row["id"] for found in batch]
        with database.read() as connection:
            known = set(connection.execute(select(tables.images.c.id).where(tables.images.c.id.in_(ids))).scalars())
            known |= set(
                connection.execute(select(tables.used_ids.c.id).where(tables.used_ids.c.id.in_(ids))).scalars()
            )
        self._report.known += len(known)
        return [self._image(found) for found in batch if found.row["id"] not in known]

    def _image(self, found: _Found) -> _Taken:
        row = found.row
        image_id, status = row["id"], ImageStatus(row["status"])
        if row["deleted"]:
            status = ImageStatus.DELETED if status is not ImageStatus.PENDING_DELETE else status
        if status is ImageStatus.DELETED:
            self._report.statuses["deleted (the id stays taken)"] += 1
            return _Taken(image_id)
        if status in _UNFINISHED:
            self._problem(image_id, f"was {status}: what was being uploaded is lost, it will be queued")
            status = ImageStatus.QUEUED
        self._report.statuses[str(status)] += 1
        living = status is not ImageStatus.PENDING_DELETE
        properties = {
            part["name"]: part["value"] for part in found.parts["image_properties"] if not (living and part["deleted"])
        }
        notes = {
            name: properties.get(f"{_PREFIX}{name}") or "" for name in _KEPT_NOTES if f"{_PREFIX}{name}" in properties
        }
        image = self._fields(row, status)
        image = dataclasses.replace(
            image,
            properties={name: value for name, value in properties.items() if not name.startswith(_PREFIX)},
            tags=tuple(dict.fromkeys(part["value"] for part in _living(found.parts["image_tags"]))),
        )
        image_locations = (
            [] if status is ImageStatus.QUEUED else self._locations(image_id, found.parts["image_locations"])
        )
        if status.has_settled_data and not image_locations:
            self._problem(image_id, f"is {status} but has no usable location: it cannot be downloaded")
        shared = [(part["member"], MemberStatus(part["status"])) for part in _living(found.parts["image_members"])]
        self._count(image, len(image_locations), len(shared))
        return _Taken(image_id, image, image_locations, shared, notes)

    def _fields(self, row: Mapping[str, Any], status: ImageStatus) -> Image:
        queued = status is ImageStatus.QUEUED
        return Image(
            id=row["id"],
            owner=row["owner"],
            created_at=moment(row["created_at"]) or now(),
            updated_at=moment(row["updated_at"]) or moment(row["created_at"]) or now(),
            deleted_at=moment(row["deleted_at"]),
            name=row["name"],
            status=status,
            visibility=ImageVisibility(row["visibility"]),
            protected=bool(row["protected"]),
            hidden=bool(row["os_hidden"]),
            checksum=None if queued else row["checksum"],
            hash_algo=None if queued else row["os_hash_algo"],
            hash_value=None if queued else row["os_hash_value"],
            size=None if queued else row["size"],
            virtual_size=None if queued else row["virtual_size"],
            container_format=row["container_format"],
            disk_format=row["disk_format"],
            min_ram=row["min_ram"] or 0,
            min_disk=row["min_disk"] or 0,
        )

    def _locations(
        self, image_id: str, parts: Sequence[Mapping[str, Any]]
    ) -> list[tuple[str, str | None, Mapping[str, Any]]]:
        image_locations: list[tuple[str, str | None, Mapping[str, Any]]] = []
        for part in parts:
            if part["status"] not in ("active", "pending_delete"):
                continue
            metadata = json_object(part["meta_data"])
            named = metadata.pop("store", None) or metadata.pop("backend", None)
            store = self._store_of(image_id, part["value"], named)
            if store is not None:
                self._report.stores[store] += 1
                image_locations.append((self._stores[store].canonical(part["value"]), store, metadata))
        return image_locations

    def _store_of(self, image_id: str, url: str, named: str | None) -> str | None:
        store = self._renamed.get(named or "", named)
        if store is not None and store in self._stores and self._stores[store].owns(url):
            return store
        owner = self._stores.owner(url)
        if owner is not None:
            return owner.id
        scheme = url.partition(":")[0][:20]
        self._problem(image_id, f"has data in store {named or '(unnamed)'} ({scheme}:…), which is not configured here")
        return None

    def _count(self, image: Image, image_locations: int, shared: int) -> None:
        self._report.parts.update(
            {
                "properties": len(image.properties),
                "tags": len(image.tags),
                "locations": image_locations,
                "members": shared,
            }
        )

    def _problem(self, image_id: str, text: str) -> None:
        self._report.problems.append(f"{image_id} {text}")


def _store(connection: Connection, batch: Sequence[_Taken]) -> None:
    for taken in batch:
        if taken.image is None:
            connection.execute(insert(tables.used_ids), {"id": taken.image_id})
            continue
        image = image_records.insert_image(connection, dataclasses.replace(taken.image, version=1))
        for url, store, metadata in taken.image_locations:
            locations.add(connection, image.id, url, store=store, metadata=metadata)
        for name, value in taken.notes.items():
            service_notes.put(connection, image.id, name, value)
        for member, status in taken.shared:
            members.set_status(connection, members.add(connection, image, member), status)
        if taken.image_locations:
            # Count the bytes: a change of nothing but its parts, which must not look like one.
            image_records.change(connection, image, updated_at=image.updated_at)


def _living(parts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [part for part in parts if not part["deleted"]]
