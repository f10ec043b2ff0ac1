"""Read an image back from a cloud: what counts is what a consumer gets, not what the record says."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pipeline.base.progress import Progress, nothing
from pipeline.image.digests import Digests, Hasher
from pipeline.publishing.cloud.errors import ChecksumMismatch, CloudError, CloudUnreachable
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.signing.image_signature import Verifier
from pipeline.signing.trust.certificates import CertificateSource


@dataclass(frozen=True)
class ReadBack:
    """One whole reading of an image.

    ``store`` is the one that gave the bytes, as the service's answer says; ``None`` where it does not say: then
    ``listed`` are those that its record names, of which one was read. ``signature`` says what verified, and is empty
    for an unsigned image.
    """

    store: str | None
    size: int
    sha512: str
    signature: str
    seconds: float
    listed: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where the bytes came from, in words."""
        if self.store:
            return f"store {self.store}"
        return "store not known" + (f"; listed in {', '.join(self.listed)}" if self.listed else "")


def read_back(
    api: ImageApi,
    record: ImageRecord,
    *,
    size: int,
    sha512: str,
    certificates: CertificateSource,
    store: str | None = None,
    progress: Progress = nothing,
) -> ReadBack:
    """Read all bytes of ``record`` and compare.

    With ``store``, from that one, where the service can choose; else one reading is one reading, wherever it came from.
    Memory stays constant. A connection that breaks is tried again from the start. Raises ``ChecksumMismatch`` on any
    difference, ``SignatureRefused`` when the record carries a signature that does not prove these bytes.
    """
    began = time.monotonic()
    verifier = Verifier.create(record.properties, certificates)
    desired = {"sha512", verifier.algorithm} if verifier else {"sha512"}
    digests, source = _read(api, record.id, size, desired, store, progress)
    location = f"image {record.id} on cloud {api.cloud}" + (f", store {store}" if store else "")
    if digests.size != size:
        raise ChecksumMismatch(f"{location}: {digests.size} bytes came back, {size} were sent")
    if digests.sha512 != sha512:
        raise ChecksumMismatch(f"{location}: other bytes came back than were sent (sha512 {digests.sha512[:16]}…)")
    if record.hash_algorithm == "sha512" and record.hash_value != sha512:
        raise ChecksumMismatch(
            f"{location}: its record says sha512 {str(record.hash_value)[:16]}…, its bytes say otherwise"
        )
    if verifier:
        verifier.verify(bytes.fromhex(digests[verifier.algorithm]))
    seconds = time.monotonic() - began
    return ReadBack(source, digests.size, digests.sha512, _described(verifier), seconds, record.stores)


def _described(verifier: Verifier | None) -> str:
    if verifier is None:
        return ""
    return f"{verifier.claim.key_type}, {verifier.claim.method}, certificate {verifier.claim.certificate}"


def _read(
    api: ImageApi, image_id: str, size: int, algorithms: set[str], store: str | None, progress: Progress
) -> tuple[Digests, str | None]:
    for attempt in api.tries():
        try:
            with api.download(image_id, store=store) as image, Hasher(algorithms) as hasher:
                if store and image.store and image.store != store:
                    raise CloudError(
                        f"cloud {api.cloud} delivers image {image_id} from store {image.store}, not {store}"
                    )
                for block in image:
                    hasher.update(block)
                    progress.advance(hasher.size, size)
                    if hasher.size > size:
                        break  # wrong already, and perhaps endless
                digests = hasher.finish()
            if digests.size < size and attempt < api.retry_policy.attempts:
                continue  # an answer without a length that was cut looks like a short one
            return digests, image.store
        except CloudUnreachable:
            if attempt == api.retry_policy.attempts:
                raise
    raise AssertionError("a retry policy has at least one attempt")
