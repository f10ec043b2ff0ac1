"""Tidy up after processes that died while they took an image's data.

The lease of such a process ends. Whoever takes it next removes what the dead attempt left in stores, and lets the image
wait for data again. Several may try at once: one gets the lease.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sqlalchemy import Connection

from pipeline.imageservice.catalog.images import locations, objects
from pipeline.imageservice.catalog.images.objects import ObjectRecord, ObjectState
from pipeline.imageservice.catalog.tasks import leases
from pipeline.imageservice.catalog.tasks.leases import Lease
from pipeline.imageservice.errors import Conflict, ServiceError
from pipeline.imageservice.lifecycle.guards.objects import held, identities, release, remove_object
from pipeline.imageservice.lifecycle.transfer.upload_claim import PREFIX, give_back
from pipeline.imageservice.model.images import ImageStatus
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.base import Store

log = logging.getLogger("imageservice.recovery")


def recover(service: Service) -> int:
    """Tidy up after every dead attempt; how many there were."""
    with service.database.read() as connection:
        ended = leases.expired(connection, prefix=PREFIX)
    return sum(_recover(service, lease) for lease in ended)


def recover_image(service: Service, image_id: str) -> None:
    """Recover as ``recover`` does, one image: its next upload need not wait for a worker."""
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
        release(connection, image_id, attempt)
        give_back(connection, image_id, status)
        leases.release(connection, lease)

    try:
        service.database.write(finish)
    except Conflict:
        log.info("image %s: somebody else has tidied up after the process that died", image_id)
        return False
    log.info("image %s: the process that took its data died; it waits for data again", image_id)
    return True


def remove_leftovers(service: Service, store: Store, image_id: str, attempt: str) -> None:
    """Remove what one attempt left in a store: its unfinished write, and the object that it has made to appear.

    By exactly the names that were its own, so that it does not matter how late this comes.
    """
    for left in store.incomplete():
        if left.attempt == attempt and objects.image_of(left.name) == image_id:
            store.discard(left)
    remove_made(service, store, image_id, attempt)


def remove_made(service: Service, store: Store, image_id: str, attempt: str) -> None:
    """Remove what one attempt has made to appear in a store without telling the catalog."""
    with service.database.read() as connection:
        found = held(connection, service, store, image_id)
    mine = [one for one in found if one.attempt == attempt and one.state is ObjectState.WRITING]
    for name in {one.name for one in mine} or _of_before(service, store, image_id, found):
        remove_object(service, store, name)


def _of_before(service: Service, store: Store, image_id: str, found: Sequence[ObjectRecord]) -> set[str]:
    """Return the image's id, by which an older version of the service named every attempt, if nobody has that name."""
    own = identities(service, store, image_id)
    if any(one.identity in own for one in found):
        return set()
    there = store.find(image_id)
    service.database.write(lambda connection: objects.spend(connection, image_id, store.id, own))
    with service.database.read() as connection:
        known = there is None or locations.with_url(connection, there.uri)
    return set() if known else {image_id}
