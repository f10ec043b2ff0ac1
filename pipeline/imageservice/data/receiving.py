"""Taking an image's data in a request: the claim on the image, held from the first to the last moment.

A claim is a lease and the status that goes with it. Beginning it, and ending it in success or failure, is one short
transaction each; in between no database connection is held. Who dies in the middle leaves the lease, which says
what there is to tidy up (see ``recovery``).
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.api.lookup import find_image
from pipeline.imageservice.catalog import images, leases, quotas
from pipeline.imageservice.catalog.leases import Lease
from pipeline.imageservice.catalog.model import Image, ImageStatus
from pipeline.imageservice.catalog.quotas import MEBIBYTE, Reservation, Resource
from pipeline.imageservice.data.control import Control
from pipeline.imageservice.data.running import running
from pipeline.imageservice.errors import Conflict, Gone, Invalid, LimitExceeded, NotFound, ServiceError, Unavailable
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.store import Writer

log = logging.getLogger("imageservice.data")

PREFIX = "receive/"
# What an image goes back to when its data does not come.
NO_DATA = {"size": None, "virtual_size": None, "checksum": None, "hash_algo": None, "hash_value": None}


@dataclass
class Claim:
    """The right to give ``image`` its data.

    ``attempt`` names this try in stores. ``committed`` is the writer that has made the data appear in a store, once it
    has; ``settled`` tells whether the catalog knows of that data.
    """

    image: Image
    lease: Lease
    attempt: str
    status: ImageStatus
    control: Control
    reservation: Reservation
    committed: Writer | None = None
    settled: Callable[[Connection], bool] = lambda connection: False


@dataclass(frozen=True)
class Wanted:
    """What a request wants to bring. ``declared``: bytes, where known. ``store``: where to, ``None`` for staging."""

    image_id: str
    rule: str
    status: ImageStatus
    declared: int | None
    store: str | None


@contextlib.contextmanager
def claimed(service: Service, caller: Caller, wanted: Wanted) -> Iterator[Claim]:
    """Claim an image; when the block ends in an error the image is ``queued`` again, without a trace of the data.

    The block itself ends the claim in success by ``succeed``.
    """
    control = Control()
    attempt = uuid.uuid4().hex
    with running.listed(control):
        claim = service.database.write(lambda connection: _begin(connection, service, caller, wanted, attempt, control))
        try:
            renew = service.leases.renewal(claim.lease, lambda connection: _still(connection, claim))
            with service.leases.kept(renew, control):
                yield claim
        except BaseException:
            _fail(service, claim)
            raise


def succeed(service: Service, claim: Claim, change: Callable[[Connection, Image], Image]) -> Image:
    """End the claim well: ``change`` is given the locked image and stores what has come of it.

    Raises ``Gone`` when the image was deleted meanwhile, or the claim was lost.
    """

    def work(connection: Connection) -> Image:
        leases.check(connection, claim.lease)
        before = images.lock(connection, claim.image.id)
        quotas.release(connection, claim.image.id)
        after = change(connection, before)
        leases.release(connection, claim.lease)
        return after

    try:
        return service.database.write(work)
    except (NotFound, Conflict) as error:
        raise Gone(f"Image {claim.image.id} was deleted or given up while its data came: {error.message}") from None


def _begin(
    connection: Connection, service: Service, caller: Caller, wanted: Wanted, attempt: str, control: Control
) -> Claim:
    staged = wanted.store is None
    _check_size(connection, service, caller, wanted.declared, staged=staged)
    before = find_image(connection, service.policy, caller, wanted.image_id, lock=True)
    service.policy.require(caller, wanted.rule, before)
    before.require(ImageStatus.QUEUED, doing="staged" if staged else "uploaded")
    if not staged and not before.has_formats:
        raise Invalid("Properties disk_format, container_format must be set prior to saving data.")
    if any(place.store == wanted.store for place in before.locations):
        raise Unavailable(f"Store {wanted.store} still holds data of this image that is about to be removed")
    data = {"attempt": attempt, "store": wanted.store}
    lease = leases.acquire(connection, PREFIX + before.id, service.leases.holder, service.leases.seconds, data)
    if lease is None:
        raise Conflict(f"The data of image {before.id} is on its way already")
    quotas.check_bytes(connection, before.owner, service.storage_quota, wanted.declared or 0)
    reserved = {"staged" if staged else "stored": wanted.declared or 0}
    reservation = quotas.reserve(connection, before.owner, before.id, **reserved)
    after = images.change(connection, before, status=wanted.status)
    limits = service.limits.of(caller.project)
    quotas.check(connection, caller.project, limits, {Resource.UPLOADING: 0})
    return Claim(after, lease, attempt, wanted.status, control, reservation)


def _check_size(
    connection: Connection, service: Service, caller: Caller, declared: int | None, *, staged: bool
) -> None:
    resource = Resource.STAGE if staged else Resource.SIZE
    limits = service.limits.of(caller.project)
    quotas.check(connection, caller.project, limits, {resource: (declared or 0) // MEBIBYTE})


def _still(connection: Connection, claim: Claim) -> None:
    """Raise ``Gone`` unless the image still waits for the data."""
    image = images.find(connection, claim.image.id)
    if image is None or image.status is not claim.status:
        raise Gone(f"Image {claim.image.id} was deleted while its data came")


def _fail(service: Service, claim: Claim) -> None:
    """End the claim badly: remove what was committed, then let the image wait again.

    When the catalog does not answer, it is not even known whether the claim has ended well. Everything is left as it is
    then, and tidied up by somebody else when the lease has ended.
    """
    try:
        with service.database.read() as connection:
            if claim.committed is not None and claim.settled(connection):
                return
        if claim.committed is not None:
            claim.committed.undo()
        service.database.write(lambda connection: _give_up(connection, claim))
    except Conflict:
        log.info("image %s: the claim on it was lost", claim.image.id)
    except ServiceError as error:
        log.warning("image %s stays %s until its lease ends: %s", claim.image.id, claim.status, error.message)


def _give_up(connection: Connection, claim: Claim) -> None:
    leases.check(connection, claim.lease)
    give_back(connection, claim.image.id, claim.status)
    leases.release(connection, claim.lease)


class QuotaWatch:
    """Counts bytes of unknown number against the storage quota as they come."""

    STEP = 64 << 20

    def __init__(self, service: Service, claim: Claim) -> None:
        self._service, self._claim = service, claim
        self._counted = claim.reservation.stored + claim.reservation.staged
        self._quota = service.storage_quota

    def advance(self, done: int, total: int | None, unit: str = "B") -> None:
        """``done`` bytes have come. Raises ``LimitExceeded``."""
        if not self._quota or done <= self._counted:
            return
        try:
            self._grow(done - self._counted + self.STEP)
        except LimitExceeded:
            self._grow(done - self._counted)

    def say(self, text: str) -> None:
        """Nothing is said of it."""

    def _grow(self, further: int) -> None:
        claim = self._claim

        def work(connection: Connection) -> Reservation:
            quotas.check_bytes(connection, claim.image.owner, self._quota, further)
            kind = "staged" if claim.status is ImageStatus.UPLOADING else "stored"
            return quotas.grow(connection, claim.reservation, **{kind: further})

        claim.reservation = self._service.database.write(work)
        self._counted += further


def give_back(connection: Connection, image_id: str, status: ImageStatus) -> None:
    """Let an image that is still in ``status`` wait for data again."""
    image = images.find(connection, image_id)
    if image is not None:
        before = images.lock(connection, image_id)
        if before.status is status:
            images.change(connection, before, status=ImageStatus.QUEUED, **NO_DATA)
    quotas.release(connection, image_id)
