"""Fetch the proof that was published with an image: found by its properties, checked against its digest."""

from __future__ import annotations

import hashlib
import itertools

from pipeline.base.errors import PipelineError
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.signing.attestation import proof, seal
from pipeline.signing.attestation.evidence import Evidence

_FEW = 10


def find(api: ImageApi, desired: str) -> ImageRecord:
    """Return the image with this id, or the one image that is shown under this name. Raises ``PipelineError``.

    Where it is known whose images are ours, ours goes before what others show under its name.
    """
    record = api.show(desired)
    if record is not None:
        return record
    ours = api.shown(name=desired) if api.owners.are_known else []
    named = ours or list(itertools.islice(api.visible(name=desired), _FEW))
    if len(named) != 1:
        how = "no image" if not named else f"{len(named)} images"
        raise PipelineError(f"cloud {api.cloud} has {how} named {desired}", hint="name it by its id")
    return named[0]


def evidence(api: ImageApi, record: ImageRecord) -> Evidence:
    """Return what came with an image: its properties, and the documents of its proof if it has one."""
    documents: dict[str, bytes] = {}
    identity = record.properties.get(proof.ID)
    if identity:
        documents = proof.unpack(_fetch(api, identity, record.properties.get(proof.SHA256)))
    return Evidence(
        properties=record.properties,
        signature_document=documents.get(seal.SIGNATURE),
        attestations=documents.get(seal.ATTESTATIONS),
        sbom=documents.get(seal.SBOM),
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
