"""``PUT /v2/images/{id}/stage``: data that waits to be imported.

Staged data lies in a store that users never see. What was found out about it on the way stands in a note on the image,
so that an import need not read it again.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog import images, service_notes
from pipeline.imageservice.catalog.model import Image, ImageStatus
from pipeline.imageservice.data.certificates import Certificates
from pipeline.imageservice.data.judge import Judge, verifier_for
from pipeline.imageservice.data.receiving import QuotaWatch, Wanted, claimed, succeed
from pipeline.imageservice.data.transfer import Source, transfer
from pipeline.imageservice.errors import ServiceError
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.errors import ObjectMissing

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
        """What is staged for an image, as noted on it."""
        text = image.service.get(service_notes.STAGED)
        return cls(**json.loads(text)) if text else None


def stage(service: Service, caller: Caller, image_id: str, source: Source) -> Image:
    """Put an image's data into staging; afterwards it is ``uploading`` and waits for its import.

    Raises as ``upload``; the formats need not be known yet.
    """
    wanted = Wanted(image_id, "modify_image", ImageStatus.UPLOADING, source.size, None)
    with claimed(service, caller, wanted) as claim:
        certificates = Certificates(service.certificates, service.settings.data.key_manager, caller)
        verifier = verifier_for(claim.image, certificates, service.settings.data.trusted_certificates)
        # What may be compressed, or has no format yet, is inspected when it is imported.
        inspect = claim.image.has_formats and "image_decompression" not in service.settings.imports.plugins
        judge = Judge(claim.image, service.settings.data, service.hash_algorithm, verifier, inspect=inspect)
        with service.staging.writer(image_id, size=source.size, attempt=claim.attempt) as writer:
            moved = transfer(
                source,
                [writer],
                service.buffers,
                taps=judge.taps,
                limit=service.settings.quotas.image_size,
                control=claim.control,
                progress=QuotaWatch(service, claim),
            )
            judge.facts()
            claim.control.check()
            staged = Staged(image_id, moved.size, judge.digests, claim.attempt)
            writer.commit(replace=True)
            claim.committed, claim.settled = writer, lambda connection: _is_noted(connection, staged, image_id)

        def change(connection: Connection, before: Image) -> Image:
            service_notes.put(connection, before.id, service_notes.STAGED, staged.text)
            if service.node is not None:
                service_notes.put(connection, before.id, service_notes.STAGE_HOST, service.node)
            return images.change(connection, before, size=moved.size)

        return succeed(service, claim, change)


def forget(service: Service, image_id: str) -> None:
    """Remove what is staged for an image, as far as it lies within this node's reach; the rest its own node sweeps."""
    try:
        for found in [service.staging.find(image_id)]:
            if found is not None:
                service.staging.delete(found.uri)
    except ObjectMissing:
        pass
    except ServiceError as error:
        log.warning("staged data of image %s stays for now: %s", image_id, error.message)


def _is_noted(connection: Connection, staged: Staged, image_id: str) -> bool:
    image = images.find(connection, image_id)
    return image is not None and Staged.of(image) == staged
