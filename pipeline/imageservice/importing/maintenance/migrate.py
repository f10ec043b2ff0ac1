"""Migrate images from one store to another, while the service runs.

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
from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.catalog.images import locations
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.catalog.tasks import leases
from pipeline.imageservice.catalog.tasks.leases import Lease
from pipeline.imageservice.data.sources import FromStore
from pipeline.imageservice.data.taps import DigestTap
from pipeline.imageservice.data.transfer import transfer
from pipeline.imageservice.errors import Conflict, NotFound, ServiceError, StoreFailed
from pipeline.imageservice.importing.maintenance.reconcile import image_locations
from pipeline.imageservice.lifecycle import deletion
from pipeline.imageservice.lifecycle.guards import objects
from pipeline.imageservice.lifecycle.transfer.recovery import recover_image
from pipeline.imageservice.lifecycle.transfer.upload import commit
from pipeline.imageservice.lifecycle.transfer.upload_claim import PREFIX
from pipeline.imageservice.model.images import Image, Location, LocationState
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.base import Store, StoredObject, Writer

log = logging.getLogger("imageservice.relocate")

_PAUSE = 0.5


class MigrationOutcome(StrEnum):
    """What became of an image."""

    MOVED = "moved"
    COPIED = "copied"  # it was to stay in the old store, too
    STAYS = "stays"  # in the old store, for the reason given


@dataclass(frozen=True)
class MigratedImage:
    """One image that was dealt with. ``detail`` says why it stays, or what is left to be done."""

    outcome: MigrationOutcome
    image: str
    size: int | None
    detail: str = ""


class _Busy(ServiceError):
    """Somebody else works on the image's data."""


def migrate(
    service: Service, source: str, target: str, *, keep: bool = False, progress: Progress = nothing
) -> Iterator[MigratedImage]:
    """Move every image that has data in the store ``source`` to ``target``; with ``keep`` the old data stays.

    Raises ``PipelineError`` for stores that cannot be used so.
    """
    old, new = _checked(service, source, target)
    _finish_former(service, old)
    later = []
    for location in image_locations(service, old.id):
        if keep and _has_copy(service, location.image_id, new.id):
            continue
        try:
            yield _Migration(service, old, new, keep, progress).run(location)
        except _Busy:
            later.append(location)
    # A lease of a mover that was killed ends by itself.
    until = time.monotonic() + 2 * service.leases.seconds
    for location in later:
        yield _waiting(_Migration(service, old, new, keep, progress), location, until)


def _checked(service: Service, source: str, target: str) -> tuple[Store, Store]:
    for name in (source, target):
        if name not in service.stores:
            known = ", ".join(store.id for store in service.stores)
            raise PipelineError(f"there is no store {name!r}", hint=f"configured are: {known}")
    if source == target:
        raise PipelineError(f"the images are to go from {source} to {source} itself", hint="name two stores")
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
        return any(
            location.store == store and location.state.is_shown for location in locations.of_image(connection, image_id)
        )


def _finish_former(service: Service, old: Store) -> None:
    """Remove data in the old store that the catalog gave up, but that a killed mover did not get to."""
    with service.database.read() as connection:
        left = locations.in_state(connection, LocationState.DELETING, limit=10_000)
    for location in left:
        if location.store == old.id:
            _remove(service, location)


def _waiting(move: _Migration, location: Location, until: float) -> MigratedImage:
    while True:
        try:
            return move.run(location)
        except _Busy as busy:
            if time.monotonic() > until:
                return MigratedImage(MigrationOutcome.STAYS, location.image_id, None, busy.message)
            time.sleep(_PAUSE)


class _Migration:
    """The move of images between two stores."""

    def __init__(self, service: Service, old: Store, new: Store, keep: bool, progress: Progress) -> None:
        self._service, self._old, self._new = service, old, new
        self._keep, self._progress = keep, progress

    def run(self, location: Location) -> MigratedImage:
        """Move one image. Raises ``_Busy``."""
        service, attempt = self._service, uuid.uuid4().hex
        recover_image(service, location.image_id)
        lease = service.database.write(lambda connection: self._claim(connection, location, attempt))
        cancel_token = CancelToken()
        try:
            with service.leases.kept(service.leases.renewal(lease, lambda connection: None), cancel_token):
                return self._move(location, lease, cancel_token)
        except ServiceError as error:
            detail = " ".join(part for part in (error.message, error.detail) if part)
            return MigratedImage(MigrationOutcome.STAYS, location.image_id, None, detail)
        finally:
            service.database.write(lambda connection: _end(connection, lease, location.image_id, attempt))

    def _claim(self, connection: Connection, location: Location, attempt: str) -> Lease:
        keeper, data = self._service.leases, {"attempt": attempt, "store": self._new.id}
        lease = leases.acquire(connection, PREFIX + location.image_id, keeper.holder, keeper.seconds, data)
        if lease is None:
            raise _Busy("somebody else is working on the image's data")
        return lease

    def _move(self, location: Location, lease: Lease, cancel_token: CancelToken) -> MigratedImage:
        with self._service.database.read() as connection:
            image = image_records.get(connection, location.image_id)
        there = next((one for one in image.readable_locations if one.store == self._new.id), None)
        if there is None:
            self._copy(image, location, lease, cancel_token)
        elif not self._keep:
            self._require_whole(image, there.url, cancel_token)
            self._service.database.write(lambda connection: self._switch(connection, lease, location, None))
        outcome = MigrationOutcome.COPIED if self._keep else MigrationOutcome.MOVED
        left = "" if self._keep or _remove(self._service, location) else f"its data in {self._old.id} goes later"
        return MigratedImage(outcome, image.id, image.size, left)

    def _copy(self, image: Image, location: Location, lease: Lease, cancel_token: CancelToken) -> None:
        attempt = str((lease.data or {})["attempt"])
        name = objects.reserve(
            self._service, self._new, image.id, attempt, lambda connection: leases.check(connection, lease)
        )
        with (
            self._old.reader(location.url) as reader,
            self._new.writer(name, size=reader.length, attempt=attempt) as writer,
        ):
            digests = _digests(image)
            transfer(
                FromStore(reader),
                [writer],
                self._service.buffers,
                taps=digests,
                cancel_token=cancel_token,
                progress=self._progress,
            )
            _require_same(image, reader.length, digests, self._old.id)
            cancel_token.check()
            stored = commit(writer)
            self._settle(image, location, lease, stored, writer, cancel_token)

    def _settle(
        self,
        image: Image,
        location: Location,
        lease: Lease,
        stored: StoredObject,
        writer: Writer,
        cancel_token: CancelToken,
    ) -> None:
        """Compare what the new store has, then make it the image's."""
        try:
            self._require_whole(image, stored.uri, cancel_token)
            self._service.database.write(lambda connection: self._switch(connection, lease, location, stored))
        except ServiceError:
            writer.undo()
            raise

    def _require_whole(self, image: Image, uri: str, cancel_token: CancelToken) -> None:
        digests = _digests(image)
        with self._new.reader(uri) as reader:
            transfer(FromStore(reader), (), self._service.buffers, taps=digests, cancel_token=cancel_token)
            _require_same(image, reader.length, digests, self._new.id)

    def _switch(self, connection: Connection, lease: Lease, location: Location, stored: StoredObject | None) -> None:
        """Switch the image to its data in the new store. Raises ``NotFound``, ``Conflict``."""
        leases.check(connection, lease)
        before = image_records.lock(connection, location.image_id)
        if location.id not in {one.id for one in before.readable_locations}:
            raise Conflict("somebody else has taken the image out of the store meanwhile")
        if stored is not None:
            facts = dict(stored.metadata)
            key = objects.settle(connection, self._service, self._new, before.id, stored.uri)
            locations.add(connection, before.id, stored.uri, store=self._new.id, metadata=facts, identity=key)
        if not self._keep:
            locations.change(connection, location, state=LocationState.DELETING)
        image_records.change(connection, before)


def _end(connection: Connection, lease: Lease, image_id: str, attempt: str) -> None:
    if leases.release(connection, lease):
        objects.release(connection, image_id, attempt)


def _digests(image: Image) -> list[DigestTap]:
    """Return what the image's data is compared by: every digest the catalog has."""
    known = ["md5"] if image.checksum else []
    return [DigestTap(name) for name in [*known, *([image.hash_algo] if image.hash_algo else [])]]


def _require_same(image: Image, size: int, digests: list[DigestTap], store: str) -> None:
    recorded = {"md5": image.checksum, image.hash_algo: image.hash_value}
    if image.size is not None and size != image.size:
        raise StoreFailed(f"store {store} has {size} bytes of it, not {image.size}")
    for digest in digests:
        expected = recorded[digest.algorithm]
        if expected is not None and digest.hexdigest() != expected:
            raise StoreFailed(f"what store {store} has of it differs from its {digest.algorithm}")


def _remove(service: Service, location: Location) -> bool:
    try:
        deletion.remove_data(service, location)
    except NotFound:
        return True
    except ServiceError as error:
        log.info("data of image %s stays in store %s for now: %s", location.image_id, location.store, error.message)
        return False
    return True
