"""Hold that an image with a signature has the bytes that were signed, on whatever way it gets either of them.

An image with any of the four ``img_signature*`` properties becomes active only when its bytes have been read and fit; a
signature that an image gets when it has its bytes already is compared with what is known of them, or with the bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import Encoding

from pipeline.base.errors import PipelineError
from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.data.certificates import Certificates
from pipeline.imageservice.data.sources import FromStore
from pipeline.imageservice.data.taps import DigestTap
from pipeline.imageservice.data.transfer import transfer
from pipeline.imageservice.data.verdict import check_signature, verifier_for
from pipeline.imageservice.errors import Conflict, Invalid
from pipeline.imageservice.model.images import Image
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.base import Store
from pipeline.imageservice.stores.errors import StoreError
from pipeline.signing.image_signature import PROPERTIES, SignatureClaim, SignatureRefused, Verifier
from pipeline.signing.trust import certificates

# What is read while a request waits; of more, another way has to be gone.
READ_IN_REQUEST = 64 << 20


@dataclass(frozen=True)
class SignatureProof:
    """That a signature fits the bytes which the catalog's entry about an image's data stands for."""

    signature: Mapping[str, str | None]
    data: tuple[object, ...]


class SignatureUnproven(Exception):
    """A change of an image's signature that is not proven yet."""

    def __init__(self, before: Image, after: Image) -> None:
        super().__init__(before.id)
        self.before, self.after = before, after


def signature_of(image: Image) -> Mapping[str, str | None]:
    """Return the properties that sign an image; none of an unsigned one."""
    return {name: image.properties[name] for name in PROPERTIES if image.properties.get(name) is not None}


def verifier_of(service: Service, caller: Caller, image: Image) -> Verifier | None:
    """Return what checks an image's signature, with a certificate that counts here; ``None`` for an unsigned image.

    Raises ``Invalid`` when the signature cannot be checked, or nobody trusted vouches for its certificate.
    """
    found = Certificates(service.certificates, service.settings.data.key_manager, caller)
    return verifier_for(image, found, service.settings.data.trusted_certificates)


def as_note(verifier: Verifier | None) -> dict[str, str]:
    """Return the certificate for whoever goes on without the caller, who alone may be able to fetch it."""
    if verifier is None:
        return {}
    return {"certificate": verifier.certificate.public_bytes(Encoding.PEM).decode()}


def verifier_from(note: Mapping[str, str], image: Image) -> Verifier | None:
    """As ``verifier_of``, with the certificate that was noted when the caller was there. Raises ``Invalid``."""
    try:
        claim = SignatureClaim.parse(image.properties)
        if claim is None:
            return None
        if note.get("certificate") is None:
            raise Invalid("Signature verification failed: the image was signed after its data was on the way")
        return Verifier(claim, certificates.parse(note["certificate"].encode(), name=claim.certificate))
    except SignatureRefused as refused:
        raise Invalid(f"Signature verification failed: {refused.message}") from None
    except PipelineError as error:
        raise (
            error if isinstance(error, Invalid) else Invalid(f"Signature verification failed: {error.message}")
        ) from None


def require_same(seen: Image, now: Image) -> None:
    """Raise ``Invalid`` when the signature that was checked is not the one that the image has by now."""
    if signature_of(seen) != signature_of(now):
        raise Invalid("The image's signature was changed while its data came: what came was not checked with it")


def read_digests(
    service: Service, store: Store, url: str, size: int, algorithms: Iterable[str], *, otherwise: str
) -> dict[str, str]:
    """Digests of data in a store, by algorithm, while a request waits.

    Raises ``Conflict`` for more than can be read so, which names what to do ``otherwise``, ``Invalid`` when the data
    cannot be read, ``Unavailable``.
    """
    if size > READ_IN_REQUEST:
        raise Conflict(
            f"The image is signed, and its {size} bytes are more than are read in a request to check that: {otherwise}"
        )
    taps = {name: DigestTap(name) for name in dict.fromkeys(algorithms)}
    try:
        with store.reader(url, offset=0, length=size) as reader:
            transfer(FromStore(reader), (), service.buffers, taps=list(taps.values()))
    except (StoreError, ValueError) as error:  # ValueError: there is less than there was a moment ago
        detail = error.detail if isinstance(error, StoreError) else None
        raise Invalid("The image is signed, and its data cannot be read to check that.", detail=detail) from None
    return {name: tap.hexdigest() for name, tap in taps.items()}


def prove(service: Service, caller: Caller, before: Image, after: Image) -> SignatureProof:
    """See whether the bytes that an image has fit the signature it is to get.

    Raises ``Invalid`` when they do not, ``Conflict`` when there are too many of them to be read.
    """
    verifier = verifier_of(service, caller, after)
    if verifier is not None:
        known = {before.hash_algo: before.hash_value, "md5": before.checksum}
        digest = known.get(verifier.algorithm)
        check_signature(verifier, digest if digest is not None else _read(service, before, verifier.algorithm))
    return SignatureProof(signature_of(after), _data_of(before))


def require_proof(before: Image, after: Image, proof: SignatureProof | None) -> None:
    """Raise ``SignatureUnproven`` for a change that gives an image with data a signature which nobody has checked."""
    signature = signature_of(after)
    if not before.status.has_settled_data or not signature or signature == signature_of(before):
        return
    if proof is None or proof.signature != signature or proof.data != _data_of(before):
        raise SignatureUnproven(before, after)


def _data_of(image: Image) -> tuple[object, ...]:
    places = tuple((location.id, location.url) for location in image.readable_locations)
    return image.size, image.checksum, image.hash_algo, image.hash_value, places


def _read(service: Service, image: Image, algorithm: str) -> str:
    for location in image.readable_locations:
        if location.store is not None and location.store in service.stores:
            store = service.stores[location.store]
            size = image.size if image.size is not None else store.size(location.url)
            way = "sign it with the digest that the image shows (os_hash_algo), or upload it anew with its signature"
            return read_digests(service, store, location.url, size, [algorithm], otherwise=way)[algorithm]
    raise Conflict("The image's data cannot be read here, so that its signature cannot be checked")
