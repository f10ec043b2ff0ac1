"""The proof that was published with an image: found by its properties, fetched, checked against its digest."""

from __future__ import annotations

import hashlib

from pipeline.base.errors import PipelineError
from pipeline.publishing.image_api import ImageApi
from pipeline.publishing.image_record import ImageRecord
from pipeline.signing import proof, seal
from pipeline.signing.evidence import Evidence


def find(api: ImageApi, wanted: str) -> ImageRecord:
    """The image with this id, or the one image that is shown under this name. Raises ``PipelineError``."""
    record = api.show(wanted)
    if record is not None:
        return record
    named = list(api.visible(name=wanted))
    if len(named) != 1:
        how = "no image" if not named else f"{len(named)} images"
        raise PipelineError(f"cloud {api.cloud} has {how} named {wanted}", hint="name it by its id")
    return named[0]


def evidence(api: ImageApi, record: ImageRecord) -> Evidence:
    """What came with an image: its properties, and the documents of its proof if it has one."""
    documents: dict[str, bytes] = {}
    identity = record.properties.get(proof.ID)
    if identity:
        documents = proof.unpack(_fetch(api, identity, record.properties.get(proof.SHA256)))
    return Evidence(
        properties=record.properties,
        signature_document=documents.get(seal.SIGNATURE),
        attestations=documents.get(seal.ATTESTATIONS),
        bill=documents.get(seal.SBOM),
    )


def _fetch(api: ImageApi, identity: str, sha256: str | None) -> bytes:
    data = bytearray()
    with api.download(identity) as blocks:
        for block in blocks:
            data += block
            if len(data) > proof.MAX_BYTES:
                raise PipelineError(f"image {identity} is too large to be a proof")
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise PipelineError(f"the proof in image {identity} is not the one that the image names")
    return bytes(data)
