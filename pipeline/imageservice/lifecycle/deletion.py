"""Delete images: the record disappears first, then the data, then the record is closed for ever.

An image with data goes through ``pending_delete``, where nobody sees it: a process that dies half way leaves something
that ``finish_pending`` completes. When a store holds on to the data, the image comes back as it was. Every right is
checked before any store is touched.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog import quotas
from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.catalog.images import locations, members
from pipeline.imageservice.catalog.images import objects as stored
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.data.slots.slots import SlotKind
from pipeline.imageservice.errors import Forbidden, NotFound, ServiceError
from pipeline.imageservice.lifecycle.guards import encryption_keys, objects
from pipeline.imageservice.lifecycle.records.visibility import find_image
from pipeline.imageservice.lifecycle.transfer import staging
from pipeline.imageservice.model.images import Image, ImageStatus, Location, LocationState, now
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.base import Store

log = logging.getLogger("imageservice.deletion")


def delete(service: Service, caller: Caller, image_id: str) -> None:
    """Delete an image for a caller. Raises ``NotFound``, ``Forbidden``, ``InUse``, ``Unavailable``."""
    with service.slots.held(SlotKind.DELETE, caller.project):
        _delete(service, caller, image_id)


def _delete(service: Service, caller: Caller, image_id: str) -> None:
    before, image = service.database.write(lambda connection: _begin(connection, service, caller, image_id))
    if image.status is ImageStatus.PENDING_DELETE and not service.settings.database.delayed_delete:
        try:
            image = _finish(service, image)
        except ServiceError:
            _bring_back(service, image, before.status)
            raise
    elif image.status is ImageStatus.DELETED:
        _sweep(service, [location for location in image.locations if location.state is LocationState.DELETING])
    staging.forget(service, image_id)
    if image.status is ImageStatus.DELETED:
        kept = encryption_keys.delete_key(service.settings.data.key_manager, caller, image)
    else:
        kept = encryption_keys.keep_key(image)
    extra: dict[str, Any] = {"encryption_key_kept": kept} if kept else {}
    service.notifier.image("image.delete", image, caller, **extra)


def take_back(service: Service, caller: Caller, image_id: str) -> None:
    """Delete an image again that was made for data which did not come. Raises no error of the service's.

    Its row stays as any deleted image's, so that the id, whose name in a store may be used up, does not come again. An
    image that somebody has given data meanwhile, or deleted, is left alone.
    """

    def work(connection: Connection) -> Image | None:
        before = image_records.lock(connection, image_id)
        if before.status is not ImageStatus.QUEUED or before.locations:
            return None
        after = image_records.change(connection, before, status=ImageStatus.DELETED, deleted_at=now())
        _close(connection, after)
        return after

    try:
        image = service.database.write(work)
    except NotFound:
        return
    except ServiceError as error:
        log.warning("image %s stays, although its data did not come: %s", image_id, error.detail or error.message)
        return
    if image is not None:
        service.notifier.image("image.delete", image, caller)


def finish_pending(service: Service, *, older_than: float, limit: int = 100) -> int:
    """Remove the data of images that were deleted more than ``older_than`` seconds ago; returns how many."""
    due = now() - int(older_than * 1_000_000)
    table = tables.images
    query = select(table.c.id).where(table.c.status == str(ImageStatus.PENDING_DELETE), table.c.deleted_at <= due)
    with service.database.read() as connection:
        ids = [row.id for row in connection.execute(query.order_by(table.c.updated_at).limit(limit))]
        pending = [image_records.get(connection, image_id, gone=True) for image_id in ids]
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
        before = image_records.lock(connection, image_id, gone=True)
        places = before.readable_locations
        if before.status is not ImageStatus.PENDING_DELETE or not places or stored.are_going(connection, places):
            raise NotFound(f"There is no deleted image {image_id} whose data is still kept")
        return image_records.change(connection, before, status=ImageStatus.ACTIVE, deleted_at=None)

    return service.database.write(work)


def _begin(connection: Connection, service: Service, caller: Caller, image_id: str) -> tuple[Image, Image]:
    """Take the image out of sight; returns it as it was and as it is."""
    before = find_image(connection, service.policy, caller, image_id, lock=True)
    service.policy.require(caller, "delete_image", before)
    if before.protected:
        raise Forbidden(f"Image {image_id} is protected and cannot be deleted.")
    has_data = bool(before.readable_locations) and before.status.has_settled_data
    status = ImageStatus.PENDING_DELETE if has_data else ImageStatus.DELETED
    after = image_records.change(connection, before, status=status, deleted_at=now())
    if status is ImageStatus.DELETED:
        # Copies that an unfinished import has already made: marked, so that they are found should this process die.
        for location in before.readable_locations:
            locations.change(connection, location, state=LocationState.DELETING)
        after = image_records.get(connection, image_id, gone=True)
        _close(connection, after)
    return before, after


def _finish(service: Service, image: Image) -> Image:
    """Remove every copy of the data, then close the record."""
    # Stores that may refuse come first, so that a refusal finds the image whole.
    order = sorted(image.readable_locations, key=lambda location: not _may_refuse(service, location))
    for location in order:
        remove_data(service, location)

    def work(connection: Connection) -> Image:
        before = image_records.lock(connection, image.id, gone=True)
        if before.status is not ImageStatus.PENDING_DELETE:
            return before
        after = image_records.change(connection, before, status=ImageStatus.DELETED)
        _close(connection, after)
        return after

    return service.database.write(work)


def remove_data(service: Service, location: Location) -> None:
    """Forget a location that was given up, and delete its data unless something else leads there.

    Bytes that are gone already are no error.
    """
    store = _store_of(service, location) or service.stores.owner(location.url)
    if store is None:
        raise ServiceError(f"The store {location.store} of image {location.image_id} is not configured any more")
    objects.delete_data(service, store, location)


def _sweep(service: Service, image_locations: Sequence[Location]) -> None:
    for location in image_locations:
        try:
            remove_data(service, location)
        except ServiceError as error:
            log.warning("data of the deleted image %s stays for now: %s", location.image_id, error.message)


def _bring_back(service: Service, image: Image, status: ImageStatus) -> None:
    def work(connection: Connection) -> None:
        before = image_records.lock(connection, image.id, gone=True)
        going = stored.are_going(connection, before.readable_locations)
        if before.status is ImageStatus.PENDING_DELETE and before.readable_locations and not going:
            image_records.change(connection, before, status=status, deleted_at=None)

    service.database.write(work)


def _close(connection: Connection, image: Image) -> None:
    """End what ends with an image: who it is shared with, and what was reserved for it."""
    members.remove_all(connection, image.id)
    quotas.release(connection, image.id)


def _may_refuse(service: Service, location: Location) -> bool:
    store = _store_of(service, location)
    return store is not None and store.type in ("rbd", "cinder")


def _store_of(service: Service, location: Location) -> Store | None:
    return service.stores[location.store] if location.store is not None and location.store in service.stores else None
