"""Hold names and objects in stores for images: before anything is written, before anything is deleted.

The rules are those of ``catalog.images.objects``; here the stores are asked who they are, before a transaction begins.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from functools import partial

from sqlalchemy import Connection

from pipeline.imageservice.catalog.images import locations, objects
from pipeline.imageservice.catalog.images.objects import ObjectRecord, ObjectState
from pipeline.imageservice.errors import Conflict, Invalid
from pipeline.imageservice.model.images import Image, Location
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.base import Store
from pipeline.imageservice.stores.errors import BadLocation, ObjectMissing, StoreUnavailable


def reserve(service: Service, store: Store, image_id: str, attempt: str, check: Callable[[Connection], object]) -> str:
    """Return the name under which ``attempt`` may write the image's data into a store; nobody else ever gets it.

    ``check`` raises when the attempt has lost its right to write. Raises ``StoreUnavailable``.
    """
    names = partial(identities, service, store)
    names(image_id)

    def work(connection: Connection) -> str:
        check(connection)
        return objects.reserve(connection, image_id, store.id, attempt, names)

    while True:
        name = service.database.write(work)
        if store.find(name) is None:
            return name
        # Something lies there that is nobody's. It stays: whoever might still delete it, deletes that.
        service.database.write(
            lambda connection, name=name: objects.spend(connection, image_id, store.id, names(name))  # type: ignore[misc]
        )


def settle(
    connection: Connection,
    service: Service,
    store: Store,
    image_id: str,
    uri: str,
    state: ObjectState = ObjectState.KEPT,
) -> bytes:
    """Return what was written under a reserved name lies at ``uri``; returns the identity for its location."""
    return objects.settle(connection, image_id, store.id, identify(service, store, uri), state)


def release(connection: Connection, image_id: str, attempt: str) -> None:
    """Let go of an attempt's names: it has ended, and what it wrote without success is gone."""
    for one in objects.of_image(connection, image_id):
        if one.state is ObjectState.WRITING and one.attempt == attempt:
            objects.let_go(connection, one)


def held(connection: Connection, service: Service, store: Store, image_id: str) -> list[ObjectRecord]:
    """Return what an image has in a store by its rows, or may have; of staging, what is within this node's reach."""
    scope = _scope(service, store)
    found = objects.of_image(connection, image_id)
    return [one for one in found if one.store == store.id and one.identity.startswith(scope)]


def remove_object(service: Service, store: Store, name: str) -> None:
    """Delete the object of exactly this name, if it is there. Raises ``StoreUnavailable``, ``ObjectInUse``."""
    there = store.find(name)
    if there is not None:
        with contextlib.suppress(ObjectMissing):
            store.delete(there.uri)


def look_at(service: Service, store: Store, url: str) -> str | None:
    """Return the identity of what a client wants as a location; ``None`` where nothing is anybody's.

    Raises ``Invalid`` for what writers make only for themselves, ``StoreUnavailable``.
    """
    if not store.capabilities.deletes:
        return None
    if store.is_internal(url):
        raise Invalid("Invalid location: its URL lies in no store that takes locations.")
    register(service)
    return identify(service, store, url)


def take(connection: Connection, image: Image, store: Store, url: str, identity: str | None) -> bytes:
    """Make what lies at ``url`` the image's; returns the identity for its location.

    Raises ``Conflict`` when another image owns it, whatever address that has it under.
    """
    if identity is None:
        return objects.NOBODYS
    if any(one.identity is None and one.image_id != image.id for one in locations.with_url(connection, url)):
        raise Conflict("The data at this location belongs to another image.")
    return objects.claim(connection, image.id, store.id, identity)


def register(service: Service) -> int:
    """Note the objects of locations that were written down without; how many. Those of silent stores wait.

    An older version of the service, which may still run beside this one, writes such locations.
    """
    known, last, count = [store.id for store in service.stores], 0, 0
    while True:
        with service.database.read() as connection:
            found = locations.unidentified(connection, known, after=last)
        if not found:
            return count
        last = found[-1].id
        seen = [(one, store, identity) for one in found for store, identity in [_identified(service, one)] if store]
        service.database.write(lambda connection, seen=seen: _note(connection, seen))  # type: ignore[misc]
        count += len(seen)


def delete_data(service: Service, store: Store, location: Location) -> None:
    """Forget a location, and delete what it leads to if that is nobody else's. Raises what the store raises."""
    if not store.capabilities.deletes:
        service.database.write(lambda connection: locations.remove(connection, location))
        return
    register(service)
    identity, token = identify(service, store, location.url), uuid.uuid4().hex
    ours = service.database.write(
        lambda connection: objects.begin_delete(connection, location, store.id, identity, token)
    )
    if not ours:
        return
    try:
        store.delete(location.url)
    except ObjectMissing:
        pass
    except BaseException:
        service.database.write(lambda connection: objects.keep(connection, identity, token))
        raise
    service.database.write(lambda connection: objects.end_delete(connection, location, identity))


def identify(service: Service, store: Store, uri: str) -> str:
    """See ``Store.identify``; what is staged on several nodes differs by the node."""
    return _scope(service, store) + store.identify(uri)


def identities(service: Service, store: Store, name: str) -> tuple[str, ...]:
    """See ``Store.identities``."""
    return tuple(_scope(service, store) + one for one in store.identities(name))


def _scope(service: Service, store: Store) -> str:
    return f"node:{service.node}:" if store is service.staging and service.node is not None else ""


def _identified(service: Service, location: Location) -> tuple[Store | None, str | None]:
    store = service.stores[location.store] if location.store is not None else service.stores.owner(location.url)
    if store is None:
        return None, None
    try:
        return store, store.identify(location.url) if store.capabilities.deletes else None
    except (StoreUnavailable, BadLocation):
        return None, None


def _note(connection: Connection, seen: list[tuple[Location, Store, str | None]]) -> None:
    for location, store, identity in seen:
        if identity is None:
            locations.change(connection, location, identity=objects.NOBODYS)
        else:
            objects.adopt(connection, location, store.id, identity)
