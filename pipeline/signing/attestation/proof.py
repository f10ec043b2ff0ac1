"""Pack the documents of one image into one small file, so that they can travel with it as an image of their own.

A plain tar without times and owners: the same documents give the same bytes. The image names it (``proof_id``,
``proof_sha256``), and it names the image by the digests inside.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

from pipeline.base.errors import PipelineError
from pipeline.signing.attestation import seal

ENDING = "proof.tar"
# Properties of an image that has one.
ID = "proof_id"
SHA256 = "proof_sha256"
SBOM_SHA256 = "sbom_sha256"
_NAMES = (seal.SIGNATURE, seal.ATTESTATIONS, seal.SBOM)
MAX_BYTES = 128 << 20


def pack(documents: Mapping[str, bytes]) -> bytes:
    """Return the documents (by their endings) as one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in _NAMES:
            if name in documents:
                entry = tarfile.TarInfo(name)
                entry.size = len(documents[name])
                entry.mode = 0o644
                archive.addfile(entry, io.BytesIO(documents[name]))
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, bytes]:
    """Return the documents in a file that ``pack`` made. Raises ``PipelineError`` when it is something else."""
    found: dict[str, bytes] = {}
    try:
        if len(data) > MAX_BYTES:
            raise tarfile.TarError("too large")
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for entry in archive:
                content = archive.extractfile(entry) if entry.isreg() else None
                # A sparse entry would grow to whatever size it claims.
                if content is None or entry.name not in _NAMES or entry.name in found or entry.size > len(data):
                    raise tarfile.TarError(f"an entry {entry.name!r}")
                found[entry.name] = content.read()
    except (tarfile.TarError, ValueError, EOFError, OverflowError) as error:
        raise PipelineError(f"this is no proof of an image: {error}") from None
    return found
