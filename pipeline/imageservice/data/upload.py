"""``PUT /v2/images/{id}/file``: from a request's body into one store."""

from __future__ import annotations

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog import images, locations
from pipeline.imageservice.catalog.model import Image, ImageStatus
from pipeline.imageservice.data.certificates import Certificates
from pipeline.imageservice.data.judge import Facts, Judge, verifier_for
from pipeline.imageservice.data.receiving import Claim, QuotaWatch, Wanted, claimed, succeed
from pipeline.imageservice.data.transfer import Source, transfer
from pipeline.imageservice.errors import Gone, Invalid, StoreFailed
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.errors import ObjectExists
from pipeline.imageservice.stores.store import Store, Stored, Writer


def upload(service: Service, caller: Caller, image_id: str, source: Source, *, store_id: str | None) -> Image:
    """Give an image its data; when this returns, the image is ``active``.

    ``store_id``: the store the client asks for, ``None`` for the default one. On any error the image is ``queued`` as
    before and no byte is left. Raises the service's errors, ``Gone`` when the image was deleted meanwhile.
    """
    store = chosen_store(service, store_id)
    service.health.require(store)
    wanted = Wanted(image_id, "upload_image", ImageStatus.SAVING, source.size, store.id)
    with claimed(service, caller, wanted) as claim:
        certificates = Certificates(service.certificates, service.settings.data.key_manager, caller)
        verifier = verifier_for(claim.image, certificates, service.settings.data.trusted_certificates)
        judge = Judge(claim.image, service.settings.data, service.hash_algorithm, verifier)
        service.notifier.image("image.prepare", claim.image, caller)
        with store.writer(image_id, size=source.size, attempt=claim.attempt) as writer:
            moved = transfer(
                source,
                [writer],
                service.buffers,
                taps=judge.taps,
                limit=service.settings.quotas.image_size,
                control=claim.control,
                progress=QuotaWatch(service, claim),
            )
            facts = judge.facts()
            claim.control.check()
            image = _keep(service, claim, store, writer, moved.size, facts)
    service.notifier.image("image.upload", image, caller)
    service.notifier.image("image.activate", image, caller)
    return image


def chosen_store(service: Service, store_id: str | None) -> Store:
    """The store a client asks for. Raises ``Invalid`` for an unknown one, ``Gone`` for one that takes nothing new."""
    if store_id is None or not service.stores.several:
        store = service.stores.default
    elif store_id in service.stores:
        store = service.stores[store_id]
    else:
        raise Invalid(f"Store for identifier {store_id[:64]} not found")
    if not store.capabilities.writable:
        raise Gone(f"Store {store.id} takes no new images")
    return store


def commit(service: Service, store: Store, writer: Writer, image_id: str) -> Stored:
    """Make the object appear. An object of that name that no image owns is what a dead attempt left: it goes.

    Raises ``ObjectExists`` when an image owns it.
    """
    try:
        return writer.commit()
    except ObjectExists:
        there = store.find(image_id)
        if there is not None:
            with service.database.read() as connection:
                if locations.with_url(connection, there.uri):
                    raise
        return writer.commit(replace=True)


def _keep(service: Service, claim: Claim, store: Store, writer: Writer, size: int, facts: Facts) -> Image:
    stored = commit(service, store, writer, claim.image.id)
    claim.committed, claim.settled = writer, lambda connection: bool(locations.with_url(connection, stored.uri))
    if stored.size != size:
        raise StoreFailed(f"Store {store.id} kept {stored.size} of {size} bytes")

    def change(connection: Connection, before: Image) -> Image:
        metadata = dict(stored.metadata)
        locations.add(connection, before.id, stored.uri, store=store.id, metadata=metadata)
        return images.change(connection, before, status=ImageStatus.ACTIVE, size=size, **facts.of_image)

    return succeed(service, claim, change)
