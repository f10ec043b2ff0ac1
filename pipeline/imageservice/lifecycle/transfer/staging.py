"""Stage data that waits to be imported.

Staged data lies in a store that users never see. What was found out about it on the way stands in a note on the image,
so that an import need not read it again.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from pipeline.base import json_text
from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog.images import objects as stored
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.catalog.images import service_notes
from pipeline.imageservice.catalog.images.objects import ObjectRecord, ObjectState
from pipeline.imageservice.data.transfer import Source, transfer
from pipeline.imageservice.data.verdict import DataInspector
from pipeline.imageservice.errors import ServiceError
from pipeline.imageservice.lifecycle.guards import objects, signatures
from pipeline.imageservice.lifecycle.guards.format_limits import limits_for, other_content
from pipeline.imageservice.lifecycle.records.view import view
from pipeline.imageservice.lifecycle.transfer.quota_watch import QuotaWatch
from pipeline.imageservice.lifecycle.transfer.upload import UploadResult
from pipeline.imageservice.lifecycle.transfer.upload_claim import UploadRequest, claimed, succeed
from pipeline.imageservice.model.images import Image, ImageStatus
from pipeline.imageservice.service import Service

log = logging.getLogger("imageservice.data")


@dataclass(frozen=True)
class Staged:
    """Staged data: its object's name and length, every digest that was computed, and which attempt staged it."""

    name: str
    size: int
    digests: Mapping[str, str]
    attempt: str

    @property
    def text(self) -> str:
        """As a note on the image."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def of(cls, image: Image) -> Staged | None:
        """Return what is staged for an image, as noted on it."""
        text = image.service.get(service_notes.STAGED)
        return cls(**json_text.loads(text)) if text else None


def stage(service: Service, caller: Caller, image_id: str, source: Source) -> UploadResult:
    """Put an image's data into staging; afterwards it is ``uploading`` and waits for its import.

    Raises as ``upload``; the formats need not be known yet.
    """
    request = UploadRequest(image_id, "modify_image", ImageStatus.UPLOADING, source.size, None)
    with claimed(service, caller, request) as claim:
        verifier = signatures.verifier_of(service, caller, claim.image)
        # What may be compressed, or has no format yet, is inspected when it is imported.
        inspect = claim.image.has_formats and not service.settings.imports.does("image_decompression")
        inspector = DataInspector(
            claim.image,
            service.settings.data,
            service.hash_algorithm,
            verifier,
            inspect=inspect,
            limits=limits_for(service),
        )
        name = claim.reserve(service, service.staging)
        with service.staging.writer(name, size=source.size, attempt=claim.attempt) as writer:
            moved = transfer(
                source,
                [writer],
                service.buffers,
                taps=inspector.taps,
                limit=service.settings.quotas.image_size,
                cancel_token=claim.cancel_token,
                progress=QuotaWatch(service, claim.reservation, caller.project, staged=True, further=claim.slot),
            )
            claim.slot.arrived()
            inspector.facts()
            claim.cancel_token.check()
            staged = Staged(name, moved.size, inspector.digests, claim.attempt)
            lies = writer.commit(replace=True)
            claim.committed, claim.settled = writer, lambda connection: _is_noted(connection, staged, image_id)

        def change(connection: Connection, before: Image) -> Image:
            objects.settle(connection, service, service.staging, image_id, lies.uri, ObjectState.STAGED)
            service_notes.put(connection, before.id, service_notes.STAGED, staged.text)
            if service.node is not None:
                service_notes.put(connection, before.id, service_notes.STAGE_HOST, service.node)
            return image_records.change(connection, before, size=moved.size)

        image = succeed(service, claim, change)
        return UploadResult(view(service, caller, image), other_content(image, inspector.verdict))


def forget(service: Service, image_id: str) -> None:
    """Remove what is staged for an image, as far as it lies within this node's reach; the rest its own node sweeps.

    What is being written just now is left to whoever writes it.
    """
    with service.database.read() as connection:
        found = objects.held(connection, service, service.staging, image_id)
    remove(service, [one for one in found if one.state is ObjectState.STAGED])


def remove(service: Service, found: Sequence[ObjectRecord]) -> None:
    """Remove exactly these objects, from staging or the store that each is in; what cannot go now stays for a sweep."""
    for one in found:
        try:
            in_staging = one.store not in service.stores
            store = service.staging if in_staging else service.stores[one.store]
            objects.remove_object(service, store, one.name)
        except ServiceError as error:
            log.warning("staged data of image %s stays for now: %s", one.image_id, error.message)
            continue
        service.database.write(lambda connection, one=one: stored.let_go(connection, one))  # type: ignore[misc]


def _is_noted(connection: Connection, staged: Staged, image_id: str) -> bool:
    image = image_records.find(connection, image_id)
    return image is not None and Staged.of(image) == staged
