"""Upload an image: from a request's body into one store."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog.images import locations
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.data.transfer import Source, transfer
from pipeline.imageservice.data.verdict import DataFacts, DataInspector
from pipeline.imageservice.errors import Gone, Invalid, StoreFailed
from pipeline.imageservice.lifecycle.guards import objects, signatures
from pipeline.imageservice.lifecycle.guards.format_limits import limits_for, other_content
from pipeline.imageservice.lifecycle.records.view import ImageView, view
from pipeline.imageservice.lifecycle.transfer.quota_watch import QuotaWatch
from pipeline.imageservice.lifecycle.transfer.upload_claim import (
    UploadClaim,
    UploadRequest,
    claimed,
    succeed,
)
from pipeline.imageservice.model.images import Image, ImageStatus
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.base import Store, StoredObject, Writer
from pipeline.imageservice.stores.errors import ObjectExists


@dataclass(frozen=True)
class UploadResult:
    """An image with its data. ``content``: what the data are, if they were declared raw and are no disk."""

    view: ImageView
    content: str | None = None


def upload(service: Service, caller: Caller, image_id: str, source: Source, *, store_id: str | None) -> UploadResult:
    """Give an image its data; when this returns, the image is ``active``.

    ``store_id``: the store the client asks for, ``None`` for the default one. On any error the image is ``queued`` as
    before and no byte is left. Raises the service's errors, ``Gone`` when the image was deleted meanwhile.
    """
    store = chosen_store(service, store_id)
    service.health.require(store)
    request = UploadRequest(image_id, "upload_image", ImageStatus.SAVING, source.size, store.id)
    with claimed(service, caller, request) as claim:
        verifier = signatures.verifier_of(service, caller, claim.image)
        inspector = DataInspector(
            claim.image,
            service.settings.data,
            service.hash_algorithm,
            verifier,
            limits=limits_for(service, [store]),
        )
        service.notifier.image("image.prepare", claim.image, caller, backend=store.id)
        name = claim.reserve(service, store)
        with store.writer(name, size=source.size, attempt=claim.attempt) as writer:
            moved = transfer(
                source,
                [writer],
                service.buffers,
                taps=inspector.taps,
                limit=service.settings.quotas.image_size,
                cancel_token=claim.cancel_token,
                progress=QuotaWatch(service, claim.reservation, caller.project, staged=False, further=claim.slot),
            )
            claim.slot.arrived()
            facts = inspector.facts()
            claim.cancel_token.check()
            image = _keep(service, claim, store, writer, moved.size, facts)
    service.notifier.image("image.upload", image, caller, backend=store.id)
    service.notifier.image("image.activate", image, caller, backend=store.id)
    return UploadResult(view(service, caller, image), other_content(image, inspector.verdict))


def chosen_store(service: Service, store_id: str | None) -> Store:
    """Return the store a client asks for. Raises ``Invalid`` for an unknown one, ``Gone`` for one that takes nothing
    new.
    """
    if store_id is None or not service.stores.several:
        store = service.stores.default
    elif store_id in service.stores:
        store = service.stores[store_id]
    else:
        raise Invalid(f"Store for identifier {store_id[:64]} not found")
    if not store.capabilities.writable:
        raise Gone(f"Store {store.id} takes no new images")
    return store


def commit(writer: Writer) -> StoredObject:
    """Make the object appear.

    Nobody else ever writes this name: what lies there already is what a lost answer to this very commit made appear.
    """
    try:
        return writer.commit()
    except ObjectExists:
        return writer.commit(replace=True)


def _keep(service: Service, claim: UploadClaim, store: Store, writer: Writer, size: int, facts: DataFacts) -> Image:
    stored = commit(writer)
    claim.committed, claim.settled = writer, lambda connection: bool(locations.with_url(connection, stored.uri))
    if stored.size != size:
        raise StoreFailed(f"Store {store.id} kept {stored.size} of {size} bytes")

    def change(connection: Connection, before: Image) -> Image:
        signatures.require_same(claim.image, before)
        metadata = dict(stored.metadata)
        identity = objects.settle(connection, service, store, before.id, stored.uri)
        locations.add(connection, before.id, stored.uri, store=store.id, metadata=metadata, identity=identity)
        return image_records.change(connection, before, status=ImageStatus.ACTIVE, size=size, **facts.of_image)

    return succeed(service, claim, change)
