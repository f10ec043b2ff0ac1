"""Keep whose each object in a store is.

Addresses are words: one object has many of them, and clients write them. What counts is an object's *identity*, which
its store tells (``Store.identify``). Each object of a store that can delete has one owning image, or is about to have
one: a row is written before the store is, stays while bytes may be there, and is asked again by whoever deletes.

A name is used once. The first attempt to put an image into a store writes an object of the image's id; every later one
gets a name that no attempt ever had or will have, by a number that only grows. So a process that was paused for however
long, and then deletes what it had written, hits nothing but that. The row of an image's own id stays for ever
(``spent``), until the id itself cannot come again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, delete, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.catalog.database.tables import AnyRow
from pipeline.imageservice.catalog.images import locations
from pipeline.imageservice.catalog.tasks import leases
from pipeline.imageservice.errors import Conflict
from pipeline.imageservice.model.images import Location, now

_T = tables.objects
_COLUMNS = (_T.c.digest, _T.c.identity, _T.c.image_id, _T.c.store, _T.c.attempt, _T.c.state)
# The identity of locations in stores that never delete: whose they are makes no difference.
NOBODYS = bytes(32)


class ObjectState(StrEnum):
    """What is known of the bytes of an object."""

    WRITING = "writing"  # an attempt may put them there at any moment
    STAGED = "staged"
    KEPT = "kept"
    DELETING = "deleting"
    SPENT = "spent"  # there are none, and the name is not used again


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """One object, or the claim to make it. ``attempt``: who writes or wrote it, where that is known."""

    digest: bytes
    identity: str
    image_id: str
    store: str
    attempt: str | None
    state: ObjectState

    @property
    def name(self) -> str:
        """What the object is called in its store."""
        return name_of(self.identity)


def digest(identity: str) -> bytes:
    """Return the key of an identity."""
    return hashlib.sha256(identity.encode()).digest()


def name_of(identity: str) -> str:
    """Return what an object is called in its store."""
    return identity.rpartition("/")[2]


def image_of(name: str) -> str:
    """Return the image that an object of this name was made for, where one of our attempts made it."""
    return name.partition(".")[0]


def of_image(connection: Connection, image_id: str) -> list[ObjectRecord]:
    """Return every object that an image has, or may get."""
    rows = connection.execute(select(*_COLUMNS).where(_T.c.image_id == image_id).order_by(_T.c.created_at))
    return [_from_row(row) for row in rows]


def find(connection: Connection, identity: str, *, lock: bool = True) -> ObjectRecord | None:
    """Return the object of this identity; with ``lock`` nobody else changes its row before the transaction ends."""
    query = select(*_COLUMNS).where(_T.c.digest == digest(identity))
    row = connection.execute(query.with_for_update() if lock else query).first()
    return _from_row(row) if row else None


def reserve(
    connection: Connection, image_id: str, store: str, attempt: str, identities: Callable[[str], Sequence[str]]
) -> str:
    """Return a name for what ``attempt`` is to write, which is no other's. ``identities``: see ``Store.identities``."""
    name = image_id
    while not _reserved(connection, image_id, store, attempt, identities(name)):
        name = f"{image_id}.{leases.next_number(connection, 'generation')}"
    return name


def settle(
    connection: Connection, image_id: str, store: str, identity: str, state: ObjectState = ObjectState.KEPT
) -> bytes:
    """Return what was written under a reserved name has come to lie here; returns the key for its location.

    Raises ``Conflict`` when the object is another image's.
    """
    there = find(connection, identity)
    if there is None:
        _insert(connection, identity, image_id, store, None, state)
    elif there.image_id != image_id:
        raise _taken()
    else:
        _change(connection, there.digest, state=str(state), store=store)
    # Where the store had several locations for that name, the others stay empty.
    for other in of_image(connection, image_id):
        writing = other.state is ObjectState.WRITING and other.store == store
        if there is not None and writing and other.attempt == there.attempt and other.name == there.name:
            let_go(connection, other)
    return digest(identity)


def claim(connection: Connection, image_id: str, store: str, identity: str) -> bytes:
    """Make an object that lies in a store already the image's; returns the key for its location.

    An image may list an object under several addresses. Raises ``Conflict`` for the object of another image, one that
    is being written, is staged or about to be deleted, and for the name of another image.
    """
    if _is_known(connection, image_of(name_of(identity))) and image_of(name_of(identity)) != image_id:
        raise _taken()
    there = find(connection, identity)
    if there is not None and there.state is ObjectState.KEPT:
        if there.image_id != image_id and locations.of_object(connection, there.digest):
            raise _taken()
        # Otherwise an older version of the service has removed the data, which knew nothing of this row.
        _change(connection, there.digest, image_id=image_id, store=store)
    elif there is not None or not _insert(connection, identity, image_id, store, None, ObjectState.KEPT):
        raise _taken()
    return digest(identity)


def adopt(connection: Connection, location: Location, store: str, identity: str) -> None:
    """Note which object a location leads to that was written down without. The first image that names it, owns it."""
    locations.change(connection, location, identity=digest(identity))
    _insert(connection, identity, location.image_id, store, None, ObjectState.KEPT)


def begin_delete(connection: Connection, location: Location, store: str, identity: str, token: str) -> bool:
    """Return whether the data at a location is to be deleted now: it is given up, and nothing else leads to the object.

    Where something else does, the location is forgotten and the object stays, that other image's if need be. ``token``
    names whoever deletes.
    """
    key = digest(identity)
    there = find(connection, identity)
    if there is None:
        _insert(connection, identity, location.image_id, store, None, ObjectState.KEPT)
        there = find(connection, identity)
    if not locations.is_given_up(connection, location):
        return False
    others = [one for one in locations.of_object(connection, key) if one.id != location.id]
    if not others:
        locations.change(connection, location, identity=key)
        # When several are at it, one that fails cannot say that the data stays.
        mark = "" if there is not None and there.state is ObjectState.DELETING else token
        _change(connection, key, image_id=location.image_id, state=str(ObjectState.DELETING), attempt=mark)
        return True
    locations.remove(connection, location)
    if location.image_id not in {one.image_id for one in others}:
        _change(connection, key, image_id=others[0].image_id)
    return False


def end_delete(connection: Connection, location: Location, identity: str) -> None:
    """Note that the data at a location is gone."""
    locations.remove(connection, location)
    there = find(connection, identity)
    if there is not None and there.state is ObjectState.DELETING:
        let_go(connection, there)


def keep(connection: Connection, identity: str, token: str) -> None:
    """Keep the data, which could not be deleted, as what it was, unless somebody else is deleting it too."""
    there = find(connection, identity)
    if there is not None and there.state is ObjectState.DELETING and there.attempt == token:
        _change(connection, there.digest, state=str(ObjectState.KEPT), attempt=None)


def are_going(connection: Connection, given: Sequence[Location]) -> bool:
    """Return whether somebody may be deleting what one of these locations leads to, so that none can be had back."""
    keys = [one.identity for one in given if one.identity not in (None, NOBODYS)]
    query = select(_T.c.digest).where(_T.c.digest.in_(keys), _T.c.state == str(ObjectState.DELETING))
    return connection.execute(query.with_for_update()).first() is not None


def disown(connection: Connection, given: Sequence[Location]) -> None:
    """Forget locations whose data stays where it is, as nobody's."""
    for place in given:
        locations.remove(connection, place)
        if place.identity is not None and not locations.of_object(connection, place.identity):
            connection.execute(delete(_T).where(_T.c.digest == place.identity, _T.c.state == str(ObjectState.KEPT)))


def let_go(connection: Connection, one: ObjectRecord) -> None:
    """There are no bytes (any more). The name of an image's own id is not used again, the others never are."""
    if one.name == one.image_id:
        _change(connection, one.digest, state=str(ObjectState.SPENT))
    else:
        connection.execute(delete(_T).where(_T.c.digest == one.digest))


def spend(connection: Connection, image_id: str, store: str, identities: Sequence[str]) -> None:
    """Never use these names, in which something may lie of which the catalog knows nothing."""
    for identity in identities:
        there = find(connection, identity)
        if there is None:
            _insert(connection, identity, image_id, store, None, ObjectState.SPENT)
        elif there.image_id == image_id and there.state is ObjectState.WRITING:
            let_go(connection, there)


def shared(connection: Connection, *, limit: int = 1000) -> list[tuple[str, list[Location]]]:
    """Objects that locations of more than one image lead to, as an older version of the service let them."""
    table = tables.locations
    several = select(table.c.identity).where(table.c.identity != NOBODYS).group_by(table.c.identity)
    several = several.having(func.count(table.c.image_id.distinct()) > 1).limit(limit)
    keys = list(connection.execute(several).scalars())
    query = select(_T.c.identity, _T.c.digest).where(_T.c.digest.in_(keys))
    return [(row.identity, locations.of_object(connection, row.digest)) for row in connection.execute(query)]


def _reserved(connection: Connection, image_id: str, store: str, attempt: str, identities: Sequence[str]) -> bool:
    """Write down the claim to all of these, or to none of them; whether that could be done."""
    if any(find(connection, identity) is not None for identity in identities):
        return False
    return all(_insert(connection, one, image_id, store, attempt, ObjectState.WRITING) for one in identities)


def _insert(
    connection: Connection, identity: str, image_id: str, store: str, attempt: str | None, state: ObjectState
) -> bool:
    moment = now()
    row: dict[str, Any] = {"digest": digest(identity), "identity": identity, "image_id": image_id, "store": store}
    row |= {"attempt": attempt, "state": str(state), "created_at": moment, "updated_at": moment}
    try:
        with connection.begin_nested():
            connection.execute(insert(_T), row)
    except IntegrityError:
        return False
    return True


def _change(connection: Connection, key: bytes, **changes: Any) -> None:
    connection.execute(update(_T).where(_T.c.digest == key).values(updated_at=now(), **changes))


def _is_known(connection: Connection, image_id: str) -> bool:
    """Whether there is, or was, an image of this id."""
    living = exists().where(tables.images.c.id == image_id)
    gone = exists().where(tables.used_ids.c.id == image_id)
    return bool(connection.execute(select(living | gone)).scalar())


def _taken() -> Conflict:
    return Conflict("The data at this location belongs to another image.")


def _from_row(row: AnyRow) -> ObjectRecord:
    key, identity, image_id, store, attempt, state = row
    return ObjectRecord(bytes(key), identity, image_id, store, attempt, ObjectState(state))
