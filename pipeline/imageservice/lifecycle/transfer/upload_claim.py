"""Claim an image for an upload, from the first to the last moment in which a request brings its data.

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
from pipeline.imageservice.cancellation.active_transfers import running
from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.catalog import quotas
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.catalog.quotas import MEBIBYTE, QuotaResource, Reservation
from pipeline.imageservice.catalog.tasks import leases
from pipeline.imageservice.catalog.tasks.leases import Lease
from pipeline.imageservice.data.slots.slots import Slot, SlotKind
from pipeline.imageservice.errors import Conflict, Gone, Invalid, NotFound, ServiceError, Unavailable
from pipeline.imageservice.lifecycle.guards import objects
from pipeline.imageservice.lifecycle.records.visibility import find_image
from pipeline.imageservice.model.images import Image, ImageStatus
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.base import Store, Writer

log = logging.getLogger("imageservice.data")

PREFIX = "receive/"
# What an image goes back to when its data does not come.
NO_DATA = {"size": None, "virtual_size": None, "checksum": None, "hash_algo": None, "hash_value": None}


@dataclass
class UploadClaim:
    """The right to give ``image`` its data.

    ``attempt`` names this try in stores; ``slot`` is what it runs in. ``committed`` is the writer that has made the
    data appear in a store, once it has; ``settled`` tells whether the catalog knows of that data.
    """

    image: Image
    lease: Lease
    attempt: str
    status: ImageStatus
    cancel_token: CancelToken
    slot: Slot
    reservation: Reservation
    committed: Writer | None = None
    settled: Callable[[Connection], bool] = lambda connection: False

    def reserve(self, service: Service, store: Store) -> str:
        """Return the name to write the data under, which no other attempt ever bears."""
        return objects.reserve(
            service, store, self.image.id, self.attempt, lambda connection: leases.check(connection, self.lease)
        )


@dataclass(frozen=True)
class UploadRequest:
    """What a request wants to bring. ``declared``: bytes, where known. ``store``: where to, ``None`` for staging."""

    image_id: str
    rule: str
    status: ImageStatus
    declared: int | None
    store: str | None


@contextlib.contextmanager
def claimed(service: Service, caller: Caller, request: UploadRequest) -> Iterator[UploadClaim]:
    """Claim an image; when the block ends in an error the image is ``queued`` again, without a trace of the data.

    The block itself ends the claim in success by ``succeed``.
    """
    cancel_token = CancelToken()
    attempt = uuid.uuid4().hex
    with running.listed(cancel_token), service.slots.held(SlotKind.UPLOAD, caller.project, cancel_token) as slot:
        claim = service.database.write(lambda connection: _begin(connection, service, caller, request, attempt, slot))
        try:
            renew = service.leases.renewal(claim.lease, lambda connection: _still(connection, claim))
            with service.leases.kept(renew, cancel_token):
                yield claim
        except BaseException as error:
            if _fail(service, claim) and isinstance(error, Exception) and not isinstance(error, Gone):
                # What was written is somebody else's to remove by now, and whatever failed may just be that.
                raise Gone(f"Image {claim.image.id} was given up while its data came") from error
            raise


def succeed(service: Service, claim: UploadClaim, change: Callable[[Connection, Image], Image]) -> Image:
    """End the claim well: ``change`` is given the locked image and stores what has come of it.

    Raises ``Gone`` when the image was deleted meanwhile, or the claim was lost.
    """

    def work(connection: Connection) -> Image:
        leases.check(connection, claim.lease)
        before = image_records.lock(connection, claim.image.id)
        quotas.release(connection, claim.image.id)
        after = change(connection, before)
        leases.release(connection, claim.lease)
        return after

    try:
        return service.database.write(work)
    except (NotFound, Conflict) as error:
        raise Gone(f"Image {claim.image.id} was deleted or given up while its data came: {error.message}") from None


def _begin(
    connection: Connection,
    service: Service,
    caller: Caller,
    request: UploadRequest,
    attempt: str,
    slot: Slot,
) -> UploadClaim:
    staged = request.store is None
    _check_size(connection, service, caller, request.declared, staged=staged)
    before = find_image(connection, service.policy, caller, request.image_id, lock=True)
    service.policy.require(caller, request.rule, before)
    before.require(ImageStatus.QUEUED, doing="staged" if staged else "uploaded")
    if not staged and not before.has_formats:
        raise Invalid("Properties disk_format, container_format must be set prior to saving data.")
    if any(location.store == request.store for location in before.locations):
        raise Unavailable(f"Store {request.store} still holds data of this image that is about to be removed")
    data = {"attempt": attempt, "store": request.store}
    lease = leases.acquire(connection, PREFIX + before.id, service.leases.holder, service.leases.seconds, data)
    if lease is None:
        raise Conflict(f"The data of image {before.id} is on its way already")
    quotas.check_bytes(connection, before.owner, service.storage_quota, request.declared or 0)
    reserved = {"staged" if staged else "stored": request.declared or 0}
    reservation = quotas.reserve(connection, before.owner, before.id, **reserved)
    after = image_records.change(connection, before, status=request.status)
    limits = service.limits.of(caller.project)
    quotas.check(connection, caller.project, limits, {QuotaResource.UPLOADING: 0})
    return UploadClaim(after, lease, attempt, request.status, slot.cancel_token, slot, reservation)


def _check_size(
    connection: Connection, service: Service, caller: Caller, declared: int | None, *, staged: bool
) -> None:
    resource = QuotaResource.STAGE if staged else QuotaResource.SIZE
    limits = service.limits.of(caller.project)
    quotas.check(connection, caller.project, limits, {resource: (declared or 0) // MEBIBYTE})


def _still(connection: Connection, claim: UploadClaim) -> None:
    """Raise ``Gone`` unless the image still waits for the data."""
    if image_records.status_of(connection, claim.image.id) is not claim.status:
        raise Gone(f"Image {claim.image.id} was deleted while its data came")


def _fail(service: Service, claim: UploadClaim) -> bool:
    """End the claim badly: remove what was committed, then let the image wait again. Whether the claim was lost before.

    When the catalog does not answer, it is not even known whether the claim has ended well. Everything is left as it is
    then, and tidied up by somebody else when the lease has ended.
    """
    try:
        with service.database.read() as connection:
            if claim.committed is not None and claim.settled(connection):
                return False
        if claim.committed is not None:
            claim.committed.undo()
        service.database.write(lambda connection: _give_up(connection, claim))
    except Conflict:
        log.info("image %s: the claim on it was lost", claim.image.id)
        return True
    except ServiceError as error:
        log.warning("image %s stays %s until its lease ends: %s", claim.image.id, claim.status, error.message)
    return False


def _give_up(connection: Connection, claim: UploadClaim) -> None:
    leases.check(connection, claim.lease)
    objects.release(connection, claim.image.id, claim.attempt)
    give_back(connection, claim.image.id, claim.status)
    leases.release(connection, claim.lease)


def give_back(connection: Connection, image_id: str, status: ImageStatus) -> None:
    """Let an image that is still in ``status`` wait for data again."""
    image = image_records.find(connection, image_id)
    if image is not None:
        before = image_records.lock(connection, image_id)
        if before.status is status:
            image_records.change(connection, before, status=ImageStatus.QUEUED, **NO_DATA)
    quotas.release(connection, image_id)
