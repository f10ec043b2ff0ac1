"""Locations set by clients: data that lies in a store already, made known instead of uploaded.

Only operators open this (``api.show_locations``, or the service role for the newer call). What a location may be is an
allow-list of the configured stores, never the service's own files, and never data that another image owns.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from pipeline.imageservice import deletion
from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.api.documents import by_weight, location_document
from pipeline.imageservice.api.image_changes import changed
from pipeline.imageservice.api.image_names import check_count
from pipeline.imageservice.api.lookup import find_image
from pipeline.imageservice.catalog import images, locations, quotas
from pipeline.imageservice.catalog.json_patch import Operation
from pipeline.imageservice.catalog.model import Image, ImageStatus, Location, LocationState
from pipeline.imageservice.data.examine import examine
from pipeline.imageservice.errors import Conflict, Forbidden, Invalid, ServiceError
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.store import Store

HASH_LENGTHS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
_RESTRICTED = ("file", "filesystem", "swift+config")
_HEX = re.compile(r"[0-9a-fA-F]*")


@dataclasses.dataclass(frozen=True, slots=True)
class _New:
    """A location to be added, checked against its store. Sizes in bytes."""

    url: str
    store: str
    metadata: Mapping[str, Any]
    size: int
    validation: Mapping[str, str]
    virtual_size: int | None


@dataclasses.dataclass(slots=True)
class _Plan:
    """What a patch does to the locations of an image."""

    added: list[_New]
    removed: list[Location]
    renamed: list[tuple[Location, Mapping[str, Any]]]


def patch(service: Service, caller: Caller, image_id: str, operations: Sequence[Operation]) -> Image:
    """Apply a patch with operations on locations. The data of removed ones goes at once."""
    if not service.settings.api.show_locations:
        raise Forbidden("It's not allowed to add, replace or remove locations: they are invisible here.")
    with service.database.read() as connection:
        seen = find_image(connection, service.policy, caller, image_id)
    service.policy.require(caller, "modify_image", seen)
    # What the data there has to be, the same patch may say.
    wanted = changed(service, caller, seen, operations)
    plan = _plan(service, caller, wanted, [one for one in operations if one.name == "locations"])

    def work(connection: Connection) -> Image:
        before = find_image(connection, service.policy, caller, image_id, lock=True)
        service.policy.require(caller, "modify_image", before)
        if before.version != seen.version:
            raise Conflict(f"Image {image_id} was changed by somebody else; try again")
        after = changed(service, caller, before, operations)
        return _store(service, caller, connection, before, after, plan)

    after = service.database.write(work)
    if after.status is not seen.status:
        service.notifier.image("image.activate", after, caller)
    for place in plan.removed:
        deletion.remove_data(service, place)
    return after


def _plan(service: Service, caller: Caller, image: Image, operations: Sequence[Operation]) -> _Plan:
    plan = _Plan([], [], [])
    shown = by_weight(service, image.readable_locations)
    for operation in operations:
        if operation.verb == "remove":
            plan.removed.append(_to_remove(service, caller, image, shown, plan, operation))
            continue
        image.require(ImageStatus.QUEUED, ImageStatus.ACTIVE, doing="given locations")
        service.policy.require(caller, "set_image_location", image)
        if operation.verb == "replace":
            _plan_replacement(service, image, shown, plan, operation.value)
        else:
            _check_index(operation.index, len(shown) + len(plan.added))
            plan.added.append(_checked(service, image, shown, plan, operation.value))
    if plan.added:
        check_count("locations", len(shown) + len(plan.added), service.settings.quotas.image_locations)
    return plan


def _to_remove(
    service: Service, caller: Caller, image: Image, shown: Sequence[Location], plan: _Plan, operation: Operation
) -> Location:
    image.require(ImageStatus.ACTIVE, doing="stripped of a location")
    service.policy.require(caller, "delete_image_location", image)
    left = [place for place in shown if place not in plan.removed]
    position = _check_index(operation.index, len(left) - 1)
    if len(left) == 1:
        raise Forbidden("Cannot remove last location in the image.")
    return left[position]


def _check_index(index: str | None, last: int) -> int:
    if index == "-":
        return last
    position = int(index or 0)
    if position > last:
        raise Invalid("Invalid position for adding or removing a location.")
    return position


def _plan_replacement(
    service: Service, image: Image, shown: Sequence[Location], plan: _Plan, value: Sequence[Mapping[str, Any]]
) -> None:
    if not value:
        raise Forbidden("Cannot set locations to empty list.")
    if not shown and not plan.added:
        for entry in value:
            plan.added.append(_checked(service, image, shown, plan, entry))
        return
    there = {place.url: place for place in shown}
    if sorted(entry["url"] for entry in value) != sorted(there):
        raise Invalid("The locations of an image can only be given other metadata, not replaced by others.")
    plan.renamed = [(there[entry["url"]], entry["metadata"]) for entry in value]


def _checked(service: Service, image: Image, shown: Sequence[Location], plan: _Plan, entry: Mapping[str, Any]) -> _New:
    url, metadata = entry["url"], entry["metadata"]
    known = [(place.url, location_document(place)["metadata"]) for place in shown]
    known += [(new.url, {**new.metadata, "store": new.store}) for new in plan.added]
    store = store_for(service, url, metadata)
    if (url, {**metadata, "store": store.id}) in known:
        raise Invalid("A location with this url and metadata is there already.")
    validation = dict(entry.get("validation_data") or {})
    check_validation(service, image, validation)
    size = size_of(store, url)
    verdict = examine(service, store, url, size, image)
    return _New(url, store.id, metadata, size, validation, verdict.virtual_size if verdict else None)


def store_for(service: Service, url: str, metadata: Mapping[str, Any]) -> Store:
    """The store in which ``url`` lies. Raises ``Invalid``, whatever is wrong with it, in the same words."""
    scheme = url.partition(":")[0].lower()
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise Invalid("Invalid location: its URL must not hold a user name or password.")
    named = metadata.get("store")
    if named is not None and named not in service.stores:
        raise Invalid("Invalid location: its metadata names a store that is not configured.")
    store = service.stores[named] if named is not None else service.stores.owner(url)
    if scheme in _RESTRICTED or store is None or not store.owns(url):
        raise Invalid("Invalid location: its URL lies in no store that takes locations.")
    return store


def size_of(store: Store, url: str) -> int:
    """The length of what lies there, in bytes. Raises ``Invalid`` when nothing does."""
    try:
        size = store.size(url)
    except ServiceError as error:
        raise Invalid("Invalid location: there is no data at its URL.", hint=None, detail=error.detail) from None
    if size <= 0:
        raise Invalid("Invalid location: the data at its URL has no length.")
    return size


def check_validation(service: Service, image: Image, values: Mapping[str, str]) -> None:
    """Raise ``Conflict`` unless hashes given along with a location fit each other, the service and the image."""
    if not values:
        return
    algorithm, digest = values["os_hash_algo"], values["os_hash_value"]
    if algorithm != service.hash_algorithm:
        raise Conflict(f"os_hash_algo must be {service.hash_algorithm}, not {algorithm[:32]}")
    if not _HEX.fullmatch(digest) or len(digest) != HASH_LENGTHS[algorithm]:
        raise Conflict(f"os_hash_value is not a hex digest of {algorithm}")
    checksum = values.get("checksum")
    if checksum is not None and not (_HEX.fullmatch(checksum) and len(checksum) == HASH_LENGTHS["md5"]):
        raise Conflict("checksum is not a hex digest of md5")
    here = {"os_hash_algo": image.hash_algo, "os_hash_value": image.hash_value, "checksum": image.checksum}
    if image.status is not ImageStatus.QUEUED:
        wrong = [name for name, value in values.items() if here[name] != value]
        if wrong:
            raise Conflict(f"{wrong[0]} does not match the image's, which cannot change any more")


def refuse_foreign(connection: Connection, image: Image, url: str, store: Store) -> None:
    """Raise ``Conflict`` when another image owns this data, unless the store is one that we never delete from."""
    if not store.capabilities.writable:
        return
    if any(place.image_id != image.id for place in locations.with_url(connection, url)):
        raise Conflict("The data at this location belongs to another image.")


def _store(service: Service, caller: Caller, connection: Connection, before: Image, after: Image, plan: _Plan) -> Image:
    for new in plan.added:
        refuse_foreign(connection, before, new.url, service.stores[new.store])
        quotas.check_bytes(connection, caller.project, service.storage_quota, new.size)
        metadata = {name: value for name, value in new.metadata.items() if name != "store"}
        locations.add(connection, before.id, new.url, store=new.store, metadata=metadata)
    for place, given in plan.renamed:
        kept = {name: value for name, value in given.items() if name != "store"}
        locations.change(connection, place, metadata=kept)
    for place in plan.removed:
        locations.change(connection, place, state=LocationState.DELETING)
    changes: dict[str, Any] = {}
    if plan.added and before.status is ImageStatus.QUEUED:
        if not after.has_formats:
            raise Invalid("Properties disk_format, container_format must be set prior to saving data.")
        validation = plan.added[0].validation
        changes = {
            "status": ImageStatus.ACTIVE,
            "size": plan.added[0].size,
            "virtual_size": plan.added[0].virtual_size,
            "checksum": validation.get("checksum"),
            "hash_algo": validation.get("os_hash_algo"),
            "hash_value": validation.get("os_hash_value"),
        }
    fields = {name: getattr(after, name) for name in _PATCHED if getattr(after, name) != getattr(before, name)}
    return images.change(connection, before, **fields, **changes)


_PATCHED = (
    "name",
    "visibility",
    "protected",
    "hidden",
    "owner",
    "container_format",
    "disk_format",
    "min_ram",
    "min_disk",
    "tags",
    "properties",
)
