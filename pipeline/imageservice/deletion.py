"""Deleting images: the record disappears first, then the data, then the record is closed for ever.

An image with data goes through ``pending_delete``, where nobody sees it: a process that dies half way leaves something
that ``finish_pending`` completes. When a store holds on to the data, the image comes back as it was. Every right is
checked before any store is touched.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sqlalchemy import Connection, select

from pipeline.imageservice import encryption_keys
from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.api.lookup import find_image
from pipeline.imageservice.catalog import images, locations, members, quotas, tables
from pipeline.imageservice.catalog.model import Image, ImageStatus, Location, LocationState, now
from pipeline.imageservice.data import staging
from pipeline.imageservice.errors import Forbidden, NotFound, ServiceError
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.errors import ObjectMissing
from pipeline.imageservice.stores.store import Store

log = logging.getLogger("imageservice.deletion")


def delete(service: Service, caller: Caller, image_id: str) -> None:
    """Delete an image for a caller. Raises ``NotFound``, ``Forbidden``, ``InUse``, ``Unavailable``."""
    before, image = service.database.write(lambda connection: _begin(connection, service, caller, image_id))
    if image.status is ImageStatus.PENDING_DELETE and not service.settings.database.delayed_delete:
        try:
            image = _finish(service, image)
        except ServiceError:
            _bring_back(service, image, before.status)
            raise
    elif image.status is ImageStatus.DELETED:
        _sweep(service, [place for place in image.locations if place.state is LocationState.DELETING])
    staging.forget(service, image_id)
    if image.status is ImageStatus.DELETED:
        encryption_keys.delete_key(service.settings.data.key_manager, caller, image)
    else:
        encryption_keys.keep_key(image)
    service.notifier.image("image.delete", image, caller)


def finish_pending(service: Service, *, older_than: float, limit: int = 100) -> int:
    """Remove the data of images that were deleted more than ``older_than`` seconds ago; returns how many."""
    due = now() - int(older_than * 1_000_000)
    table = tables.images
    query = select(table.c.id).where(table.c.status == str(ImageStatus.PENDING_DELETE), table.c.deleted_at <= due)
    with service.database.read() as connection:
        ids = [row.id for row in connection.execute(query.order_by(table.c.updated_at).limit(limit))]
        pending = [images.get(connection, image_id, gone=True) for image_id in ids]
    done = 0
    for image in pending:
        try:
            _finish(service, image)
            done += 1
        except ServiceError as error:
            log.warning("the data of the deleted image %s stays for now: %s", image.id, error.message)
    with service.database.read() as connection:
        left = locations.in_state(connection, LocationState.DELETING, older_than=due, limit=limit)
    _sweep(service, left)
    return done


def restore(service: Service, image_id: str) -> Image:
    """Bring an image back whose data is still there. Raises ``NotFound``, ``Conflict``."""

    def work(connection: Connection) -> Image:
        before = images.lock(connection, image_id, gone=True)
        if before.status is not ImageStatus.PENDING_DELETE or not before.readable_locations:
            raise NotFound(f"There is no deleted image {image_id} whose data is still kept")
        return images.change(connection, before, status=ImageStatus.ACTIVE, deleted_at=None)

    return service.database.write(work)


def _begin(connection: Connection, service: Service, caller: Caller, image_id: str) -> tuple[Image, Image]:
    """Take the image out of sight; returns it as it was and as it is."""
    before = find_image(connection, service.policy, caller, image_id, lock=True)
    service.policy.require(caller, "delete_image", before)
    if before.protected:
        raise Forbidden(f"Image {image_id} is protected and cannot be deleted.")
    has_data = bool(before.readable_locations) and before.status.has_settled_data
    status = ImageStatus.PENDING_DELETE if has_data else ImageStatus.DELETED
    after = images.change(connection, before, status=status, deleted_at=now())
    if status is ImageStatus.DELETED:
        # Copies that an unfinished import has already made: marked, so that they are found should this process die.
        for place in before.readable_locations:
            locations.change(connection, place, state=LocationState.DELETING)
        after = images.get(connection, image_id, gone=True)
        _close(connection, after)
    return before, after


def _finish(service: Service, image: Image) -> Image:
    """Remove every copy of the data, then close the record."""
    # Stores that may refuse come first, so that a refusal finds the image whole.
    order = sorted(image.readable_locations, key=lambda place: not _may_refuse(service, place))
    for place in order:
        remove_data(service, place)

    def work(connection: Connection) -> Image:
        before = images.lock(connection, image.id, gone=True)
        if before.status is not ImageStatus.PENDING_DELETE:
            return before
        after = images.change(connection, before, status=ImageStatus.DELETED)
        _close(connection, after)
        return after

    return service.database.write(work)


def remove_data(service: Service, place: Location) -> None:
    """Remove the bytes at a location and forget it; bytes that are gone already are no error."""
    store = _store_of(service, place) or service.stores.owner(place.url)
    if store is None:
        raise ServiceError(f"The store {place.store} of image {place.image_id} is not configured any more")
    if store.capabilities.writable or store.type != "http":
        try:
            store.delete(place.url)
        except ObjectMissing:
            log.info("image %s had no data left in store %s", place.image_id, store.id)
    service.database.write(lambda connection: locations.remove(connection, place))


def _sweep(service: Service, places: Sequence[Location]) -> None:
    for place in places:
        try:
            remove_data(service, place)
        except ServiceError as error:
            log.warning("data of the deleted image %s stays for now: %s", place.image_id, error.message)


def _bring_back(service: Service, image: Image, status: ImageStatus) -> None:
    def work(connection: Connection) -> None:
        before = images.lock(connection, image.id, gone=True)
        if before.status is ImageStatus.PENDING_DELETE:
            images.change(connection, before, status=status, deleted_at=None)

    service.database.write(work)


def _close(connection: Connection, image: Image) -> None:
    """What ends with an image: who it is shared with, and what was reserved for it."""
    members.remove_all(connection, image.id)
    quotas.release(connection, image.id)


def _may_refuse(service: Service, place: Location) -> bool:
    store = _store_of(service, place)
    return store is not None and store.type in ("rbd", "cinder")


def _store_of(service: Service, place: Location) -> Store | None:
    return service.stores[place.store] if place.store is not None and place.store in service.stores else None
