"""Change an image's locations by a patch of its document, which only operators open (``api.show_locations``)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog import quotas
from pipeline.imageservice.catalog.images import locations
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.data.slots.slots import SlotKind
from pipeline.imageservice.data.verdict import check_signature
from pipeline.imageservice.errors import Conflict, Forbidden, Invalid
from pipeline.imageservice.lifecycle import deletion
from pipeline.imageservice.lifecycle.guards import objects, properties, signatures
from pipeline.imageservice.lifecycle.guards.signatures import SignatureProof, SignatureUnproven
from pipeline.imageservice.lifecycle.locations.copies import check_validation, size_of, store_for
from pipeline.imageservice.lifecycle.locations.inspect import inspect_location
from pipeline.imageservice.lifecycle.records.apply_patch import changed
from pipeline.imageservice.lifecycle.records.names import check_count
from pipeline.imageservice.lifecycle.records.view import by_weight
from pipeline.imageservice.lifecycle.records.visibility import find_image
from pipeline.imageservice.model.images import Image, ImageStatus, Location, LocationState
from pipeline.imageservice.schema.json_patch import Operation
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.base import Store


@dataclasses.dataclass(frozen=True, slots=True)
class _New:
    """A location to be added, checked against its store. Sizes in bytes."""

    url: str
    store: str
    metadata: Mapping[str, Any]
    size: int
    validation: Mapping[str, str]
    virtual_size: int | None
    identity: str | None


@dataclasses.dataclass(slots=True)
class _Plan:
    """What a patch does to the locations of an image."""

    added: list[_New]
    removed: list[Location]
    renamed: list[tuple[Location, Mapping[str, Any]]]


def patch(
    service: Service, caller: Caller, image_id: str, operations: Sequence[Operation]
) -> tuple[Image, tuple[str, ...]]:
    """Apply a patch with operations on locations; returns the image, and warnings. The data of removed ones goes at
    once.
    """
    if not service.settings.api.show_locations:
        raise Forbidden("It's not allowed to add, replace or remove locations: they are invisible here.")
    with service.slots.held(SlotKind.CHECK, caller.project):
        return _patch(service, caller, image_id, operations)


def _patch(
    service: Service, caller: Caller, image_id: str, operations: Sequence[Operation]
) -> tuple[Image, tuple[str, ...]]:
    with service.database.read() as connection:
        seen = find_image(connection, service.policy, caller, image_id)
    service.policy.require(caller, "modify_image", seen)
    # What the data there has to be, the same patch may say.
    after = changed(service, caller, seen, operations)
    plan = _plan(service, caller, after, [one for one in operations if one.name == "locations"])
    proof = _proof(service, caller, seen, after)

    def work(connection: Connection) -> tuple[Image, tuple[str, ...]]:
        before = find_image(connection, service.policy, caller, image_id, lock=True)
        service.policy.require(caller, "modify_image", before)
        if before.version != seen.version:
            raise Conflict(f"Image {image_id} was changed by somebody else; try again")
        after = changed(service, caller, before, operations)
        signatures.require_proof(before, after, proof)
        warnings = properties.check_changed(service, connection, caller, before, after)
        return _store(service, caller, connection, before, after, plan), warnings

    after, warnings = service.database.write(work)
    if after.status is not seen.status:
        service.notifier.image("image.activate", after, caller)
    for location in plan.removed:
        deletion.remove_data(service, location)
    return after, warnings


def _proof(service: Service, caller: Caller, before: Image, after: Image) -> SignatureProof | None:
    """Prove that the data which the image has already fits the signature that the same patch gives it."""
    try:
        signatures.require_proof(before, after, None)
    except SignatureUnproven:
        return signatures.prove(service, caller, before, after)
    return None


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
            _plan_replacement(service, caller, image, shown, plan, operation.value)
        else:
            _check_index(operation.index, len(shown) + len(plan.added))
            plan.added.append(_checked(service, caller, image, shown, plan, operation.value))
    if plan.added:
        check_count("locations", len(shown) + len(plan.added), service.settings.quotas.image_locations)
    return plan


def _to_remove(
    service: Service, caller: Caller, image: Image, shown: Sequence[Location], plan: _Plan, operation: Operation
) -> Location:
    image.require(ImageStatus.ACTIVE, doing="stripped of a location")
    service.policy.require(caller, "delete_image_location", image)
    left = [location for location in shown if location not in plan.removed]
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
    service: Service,
    caller: Caller,
    image: Image,
    shown: Sequence[Location],
    plan: _Plan,
    value: Sequence[Mapping[str, Any]],
) -> None:
    if not value:
        raise Forbidden("Cannot set locations to empty list.")
    if not shown and not plan.added:
        for entry in value:
            plan.added.append(_checked(service, caller, image, shown, plan, entry))
        return
    there = {location.url: location for location in shown}
    if sorted(entry["url"] for entry in value) != sorted(there):
        raise Invalid("The locations of an image can only be given other metadata, not replaced by others.")
    plan.renamed = [(there[entry["url"]], entry["metadata"]) for entry in value]


def _checked(
    service: Service,
    caller: Caller,
    image: Image,
    shown: Sequence[Location],
    plan: _Plan,
    entry: Mapping[str, Any],
) -> _New:
    url, metadata = entry["url"], entry["metadata"]
    known = [(location.url, location.described) for location in shown]
    known += [(new.url, {**new.metadata, "store": new.store}) for new in plan.added]
    store = store_for(service, url, metadata)
    if (url, {**metadata, "store": store.id}) in known:
        raise Invalid("A location with this url and metadata is there already.")
    validation = dict(entry.get("validation_data") or {})
    check_validation(service, image, validation)
    identity = objects.look_at(service, store, url)
    size = size_of(store, url)
    verdict = inspect_location(service, store, url, size, image)
    validation |= _signed(service, caller, store, url, size, image, validation)
    return _New(url, store.id, metadata, size, validation, verdict.virtual_size if verdict else None, identity)


def _signed(
    service: Service, caller: Caller, store: Store, url: str, size: int, image: Image, given: Mapping[str, str]
) -> dict[str, str]:
    """Digests of data that an image's signature fits; nothing where the image has none. Raises ``Invalid``."""
    verifier = signatures.verifier_of(service, caller, image)
    if verifier is None:
        return {}
    usual = {"md5": "checksum", service.hash_algorithm: "os_hash_value"}
    way = f"add it by POST /v2/images/{image.id}/locations, which reads it afterwards, or import it"
    found = signatures.read_digests(service, store, url, size, [verifier.algorithm, *usual], otherwise=way)
    check_signature(verifier, found[verifier.algorithm])
    digests = {name: found[algorithm] for algorithm, name in usual.items()}
    wrong = [name for name, digest in digests.items() if given.get(name, digest).lower() != digest]
    if wrong:
        raise Conflict(f"{wrong[0]} is not that of the data at the location")
    return {"os_hash_algo": service.hash_algorithm, **digests}


def _store(service: Service, caller: Caller, connection: Connection, before: Image, after: Image, plan: _Plan) -> Image:
    for new in plan.added:
        identity = objects.take(connection, before, service.stores[new.store], new.url, new.identity)
        quotas.check_bytes(connection, caller.project, service.storage_quota, new.size)
        metadata = {name: value for name, value in new.metadata.items() if name != "store"}
        locations.add(connection, before.id, new.url, store=new.store, metadata=metadata, identity=identity)
    for location, given in plan.renamed:
        kept = {name: value for name, value in given.items() if name != "store"}
        locations.change(connection, location, metadata=kept)
    for location in plan.removed:
        locations.change(connection, location, state=LocationState.DELETING)
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
    return image_records.change(connection, before, **fields, **changes)


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
