"""Moving images from one store to another, while the service runs.

Each image is copied, read back and compared with its digests; one transaction then makes the catalog name the new place
instead of the old one, and only after that the old data goes. A lease per image keeps uploads and other movers away.
When this process dies, a worker of the service, or the next move, tidies up after it and the next move goes on.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection

from pipeline.base.errors import PipelineError
from pipeline.base.progress import Progress, nothing
from pipeline.imageservice import deletion
from pipeline.imageservice.catalog import images, leases, locations
from pipeline.imageservice.catalog.leases import Lease
from pipeline.imageservice.catalog.model import Image, Location, LocationState
from pipeline.imageservice.data.control import Control
from pipeline.imageservice.data.receiving import PREFIX
from pipeline.imageservice.data.recovery import recover_image
from pipeline.imageservice.data.sources import FromStore
from pipeline.imageservice.data.taps import Digest
from pipeline.imageservice.data.transfer import transfer
from pipeline.imageservice.data.upload import commit
from pipeline.imageservice.errors import Conflict, NotFound, ServiceError, StoreFailed
from pipeline.imageservice.importing.reconcile import places
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.store import Store, Stored, Writer

log = logging.getLogger("imageservice.relocate")

_PAUSE = 0.5


class Outcome(StrEnum):
    """What became of an image."""

    MOVED = "moved"
    COPIED = "copied"  # it was to stay in the old store, too
    STAYS = "stays"  # in the old store, for the reason given


@dataclass(frozen=True)
class Moved:
    """One image that was dealt with. ``detail`` says why it stays, or what is left to be done."""

    outcome: Outcome
    image: str
    size: int | None
    detail: str = ""


class _Busy(ServiceError):
    """Somebody else works on the image's data."""


def relocate(
    service: Service, source: str, target: str, *, keep: bool = False, progress: Progress = nothing
) -> Iterator[Moved]:
    """Move every image that has data in the store ``source`` to ``target``; with ``keep`` the old data stays.

    Raises ``PipelineError`` for stores that cannot be used so.
    """
    old, new = _checked(service, source, target)
    _finish_former(service, old)
    later = []
    for place in places(service, old.id):
        if keep and _has_copy(service, place.image_id, new.id):
            continue
        try:
            yield _Move(service, old, new, keep, progress).run(place)
        except _Busy:
            later.append(place)
    # A lease of a mover that was killed ends by itself.
    until = time.monotonic() + 2 * service.leases.seconds
    for place in later:
        yield _waiting(_Move(service, old, new, keep, progress), place, until)


def _checked(service: Service, source: str, target: str) -> tuple[Store, Store]:
    for name in (source, target):
        if name not in service.stores:
            known = ", ".join(store.id for store in service.stores)
            raise PipelineError(f"there is no store {name!r}", hint=f"configured are: {known}")
    if source == target:
        raise PipelineError(f"the images are to go from {source} to {source} itself")
    old, new = service.stores[source], service.stores[target]
    if not new.capabilities.writable:
        raise PipelineError(f"store {target} takes no new images")
    try:
        new.check()
    except ServiceError as error:
        raise PipelineError(f"{error.message}: {error.detail or ''}".rstrip(": ")) from None
    return old, new


def _has_copy(service: Service, image_id: str, store: str) -> bool:
    with service.database.read() as connection:
        return any(place.store == store and place.state.is_shown for place in locations.of_image(connection, image_id))


def _finish_former(service: Service, old: Store) -> None:
    """Remove data in the old store that the catalog gave up, but that a killed mover did not get to."""
    with service.database.read() as connection:
        left = locations.in_state(connection, LocationState.DELETING, limit=10_000)
    for place in left:
        if place.store == old.id:
            _remove(service, place)


def _waiting(move: _Move, place: Location, until: float) -> Moved:
    while True:
        try:
            return move.run(place)
        except _Busy as busy:
            if time.monotonic() > until:
                return Moved(Outcome.STAYS, place.image_id, None, busy.message)
            time.sleep(_PAUSE)


class _Move:
    """The move of images between two stores."""

    def __init__(self, service: Service, old: Store, new: Store, keep: bool, progress: Progress) -> None:
        self._service, self._old, self._new = service, old, new
        self._keep, self._progress = keep, progress

    def run(self, place: Location) -> Moved:
        """Move one image. Raises ``_Busy``."""
        service, attempt = self._service, uuid.uuid4().hex
        recover_image(service, place.image_id)
        lease = service.database.write(lambda connection: self._claim(connection, place, attempt))
        control = Control()
        try:
            with service.leases.kept(service.leases.renewal(lease, lambda connection: None), control):
                return self._move(place, attempt, control)
        except ServiceError as error:
            detail = " ".join(part for part in (error.message, error.detail) if part)
            return Moved(Outcome.STAYS, place.image_id, None, detail)
        finally:
            service.database.write(lambda connection: leases.release(connection, lease))

    def _claim(self, connection: Connection, place: Location, attempt: str) -> Lease:
        keeper, data = self._service.leases, {"attempt": attempt, "store": self._new.id}
        lease = leases.acquire(connection, PREFIX + place.image_id, keeper.holder, keeper.seconds, data)
        if lease is None:
            raise _Busy("somebody else is working on the image's data")
        return lease

    def _move(self, place: Location, attempt: str, control: Control) -> Moved:
        with self._service.database.read() as connection:
            image = images.get(connection, place.image_id)
        there = next((one for one in image.readable_locations if one.store == self._new.id), None)
        if there is None:
            self._copy(image, place, attempt, control)
        elif not self._keep:
            self._require_whole(image, there.url, control)
            self._service.database.write(lambda connection: self._switch(connection, place, None))
        outcome = Outcome.COPIED if self._keep else Outcome.MOVED
        left = "" if self._keep or _remove(self._service, place) else f"its data in {self._old.id} goes later"
        return Moved(outcome, image.id, image.size, left)

    def _copy(self, image: Image, place: Location, attempt: str, control: Control) -> None:
        with (
            self._old.reader(place.url) as reader,
            self._new.writer(image.id, size=reader.length, attempt=attempt) as writer,
        ):
            digests = _digests(image)
            transfer(
                FromStore(reader),
                [writer],
                self._service.buffers,
                taps=digests,
                control=control,
                progress=self._progress,
            )
            _require_same(image, reader.length, digests, self._old.id)
            control.check()
            stored = commit(self._service, self._new, writer, image.id)
            self._settle(image, place, stored, writer, control)

    def _settle(self, image: Image, place: Location, stored: Stored, writer: Writer, control: Control) -> None:
        """Compare what the new store has, then make it the image's."""
        try:
            self._require_whole(image, stored.uri, control)
            self._service.database.write(lambda connection: self._switch(connection, place, stored))
        except ServiceError:
            writer.undo()
            raise

    def _require_whole(self, image: Image, uri: str, control: Control) -> None:
        digests = _digests(image)
        with self._new.reader(uri) as reader:
            transfer(FromStore(reader), (), self._service.buffers, taps=digests, control=control)
            _require_same(image, reader.length, digests, self._new.id)

    def _switch(self, connection: Connection, place: Location, stored: Stored | None) -> None:
        """The image's data is in the new store from now on. Raises ``NotFound``, ``Conflict``."""
        before = images.lock(connection, place.image_id)
        if place.id not in {one.id for one in before.readable_locations}:
            raise Conflict("somebody else has taken the image out of the store meanwhile")
        if stored is not None:
            facts = dict(stored.metadata)
            locations.add(connection, before.id, stored.uri, store=self._new.id, metadata=facts)
        if not self._keep:
            locations.change(connection, place, state=LocationState.DELETING)
        images.change(connection, before)


def _digests(image: Image) -> list[Digest]:
    """What the image's data is compared by: every digest the catalog has."""
    known = ["md5"] if image.checksum else []
    return [Digest(name) for name in [*known, *([image.hash_algo] if image.hash_algo else [])]]


def _require_same(image: Image, size: int, digests: list[Digest], store: str) -> None:
    wanted = {"md5": image.checksum, image.hash_algo: image.hash_value}
    if image.size is not None and size != image.size:
        raise StoreFailed(f"store {store} has {size} bytes of it, not {image.size}")
    for digest in digests:
        expected = wanted[digest.algorithm]
        if expected is not None and digest.hexdigest() != expected:
            raise StoreFailed(f"what store {store} has of it differs from its {digest.algorithm}")


def _remove(service: Service, place: Location) -> bool:
    try:
        deletion.remove_data(service, place)
    except NotFound:
        return True
    except ServiceError as error:
        log.info("data of image %s stays in store %s for now: %s", place.image_id, place.store, error.message)
        return False
    return True
