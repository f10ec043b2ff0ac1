"""Show where an image's bytes lie, take a copy away, and check what clients say of data that a store has already.

What a location may be is an allow-list of the configured stores, never the service's own files, and never data that
another image owns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog.images import locations, objects
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.data.slots.slots import SlotKind
from pipeline.imageservice.errors import Conflict, Forbidden, Invalid, NotFound, ServiceError
from pipeline.imageservice.lifecycle import deletion
from pipeline.imageservice.lifecycle.records.view import by_weight
from pipeline.imageservice.lifecycle.records.visibility import find_image
from pipeline.imageservice.model.images import Image, ImageStatus, Location, LocationState
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.base import Store

HASH_LENGTHS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
_RESTRICTED = ("file", "filesystem", "swift+config")
_HEX = re.compile(r"[0-9a-fA-F]*")


def fetch(service: Service, caller: Caller, image_id: str) -> list[Location]:
    """Every location of an image, for other services of the cloud. Raises ``NotFound``, ``Forbidden``."""
    with service.database.read() as connection:
        image = find_image(connection, service.policy, caller, image_id)
    service.policy.require(caller, "fetch_image_location", image)
    return by_weight(service, image.readable_locations)


def remove_copy(service: Service, caller: Caller, image_id: str, store_id: str) -> None:
    """Delete an image's copy in one store. Raises ``NotFound``, ``Forbidden``, ``Conflict``, the store's errors."""
    if not service.stores.several:
        raise NotFound("Multi backend is not supported at this site.")
    if store_id not in service.stores:
        raise Conflict(f"The selected store {store_id[:64]} is not available on this node.")

    def begin(connection: Connection) -> tuple[Image, Location]:
        image = find_image(connection, service.policy, caller, image_id, lock=True)
        location = _copy_to_remove(service, caller, image, store_id)
        locations.change(connection, location, state=LocationState.DELETING)
        return image_records.change(connection, image), location

    with service.slots.held(SlotKind.DELETE, caller.project):
        after, location = service.database.write(begin)
        try:
            deletion.remove_data(service, location)
        except ServiceError:
            service.database.write(lambda connection: _bring_back(connection, image_id, location))
            raise
    service.notifier.image("image.update", after, caller)


def _copy_to_remove(service: Service, caller: Caller, image: Image, store_id: str) -> Location:
    service.policy.require(caller, "get_image_location", image)
    service.policy.require(caller, "delete_image_location", image)
    image.require(ImageStatus.ACTIVE, doing="taken out of a store")
    copies = image.readable_locations
    if len(copies) == 1:
        raise Forbidden("Cannot delete the last copy of an image; delete the image instead.")
    for location in copies:
        if location.store == store_id:
            return location
    raise NotFound(f"Image {image.id} is not in store {store_id}")


def _bring_back(connection: Connection, image_id: str, location: Location) -> None:
    image = image_records.find(connection, image_id)
    if image is not None:
        before = image_records.lock(connection, image_id)
        if objects.are_going(connection, [one for one in before.locations if one.id == location.id]):
            return
        locations.change(connection, location, state=LocationState.ACTIVE)
        image_records.change(connection, before)


def store_for(service: Service, url: str, metadata: Mapping[str, Any]) -> Store:
    """Return the store in which ``url`` lies. Raises ``Invalid``, whatever is wrong with it, in the same words."""
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
    """Return the length of what lies there, in bytes. Raises ``Invalid`` when nothing does."""
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
