"""Tidying up after processes that died while they took an image's data.

The lease of such a process ends. Whoever takes it next removes what the dead attempt left in stores, and lets the image
wait for data again. Several may try at once: one gets the lease.
"""

from __future__ import annotations

import logging

from sqlalchemy import Connection

from pipeline.imageservice.catalog import leases, locations
from pipeline.imageservice.catalog.leases import Lease
from pipeline.imageservice.catalog.model import ImageStatus
from pipeline.imageservice.data.receiving import PREFIX, give_back
from pipeline.imageservice.errors import ServiceError
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.errors import ObjectMissing
from pipeline.imageservice.stores.store import Store

log = logging.getLogger("imageservice.recovery")


def recover(service: Service) -> int:
    """Tidy up after every dead attempt; how many there were."""
    with service.database.read() as connection:
        ended = leases.expired(connection, prefix=PREFIX)
    return sum(_recover(service, lease) for lease in ended)


def recover_image(service: Service, image_id: str) -> None:
    """As ``recover``, for one image: its next upload need not wait for a worker."""
    with service.database.read() as connection:
        ended = [lease for lease in [leases.find(connection, PREFIX + image_id)] if lease]
    for lease in ended:
        _recover(service, lease)


def _recover(service: Service, ended: Lease) -> bool:
    keeper = service.leases
    lease = service.database.write(
        lambda connection: leases.acquire(connection, ended.name, keeper.holder, keeper.seconds, ended.data)
    )
    if lease is None:
        return False
    image_id, data = lease.name.removeprefix(PREFIX), lease.data or {}
    store_id, attempt = data.get("store"), str(data.get("attempt"))
    try:
        store = service.staging if store_id is None else service.stores[str(store_id)]
        remove_leftovers(service, store, image_id, attempt)
    except KeyError:
        log.warning("image %s: the store %s, where data may be left, is not configured any more", image_id, store_id)
    except ServiceError as error:
        log.warning("image %s: data stays in store %s for now: %s", image_id, store_id, error.message)
        return False
    status = ImageStatus.UPLOADING if store_id is None else ImageStatus.SAVING

    def finish(connection: Connection) -> None:
        leases.check(connection, lease)
        give_back(connection, image_id, status)
        leases.release(connection, lease)

    service.database.write(finish)
    log.info("image %s: the process that took its data died; it waits for data again", image_id)
    return True


def remove_leftovers(service: Service, store: Store, image_id: str, attempt: str) -> None:
    """Remove what one attempt left in a store: its unfinished write, and an object that no image knows of."""
    for left in store.incomplete():
        if left.attempt == attempt and left.name == image_id:
            store.discard(left)
    there = store.find(image_id)
    if there is None:
        return
    with service.database.read() as connection:
        if locations.with_url(connection, there.uri):
            return
    try:
        store.delete(there.uri)
    except ObjectMissing:
        pass
