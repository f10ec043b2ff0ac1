"""Sign an image's bytes as Glance and Nova check it, and verify that (cursive, ``signature_utils``).

The signed message is the whole file as it is uploaded, first to last byte, no more. Four image properties carry the
signature; a cloud that finds three of them checks nothing and says nothing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa, utils

from pipeline.base.errors import PipelineError
from pipeline.base.progress import Progress, nothing
from pipeline.image.digests import USUAL, Digests, Hasher, digest_file
from pipeline.signing.keys.signer import Signer, not_for_images
from pipeline.signing.trust import extensions
from pipeline.signing.trust.certificates import CertificateMissing, CertificateSource
from pipeline.signing.trust.kinds import HashMethod, KeyKind

SIGNATURE = "img_signature"
HASH_METHOD = "img_signature_hash_method"
KEY_TYPE = "img_signature_key_type"
CERTIFICATE = "img_signature_certificate_uuid"
PROPERTIES = (SIGNATURE, HASH_METHOD, KEY_TYPE, CERTIFICATE)
KEY_TYPES = ("RSA-PSS", "DSA", "ECC_SECP384R1", "ECC_SECP521R1", "ECC_SECT571K1", "ECC_SECT409K1", "ECC_SECT571R1",
             "ECC_SECT409R1")  # fmt: skip
_MAX_SIGNATURE = 4096


class SignatureReason(StrEnum):
    """Why a signature does not count."""

    INCOMPLETE = "incomplete"  # not all four properties
    MALFORMED = "malformed"  # a property has an impossible value
    NO_CERTIFICATE = "no-certificate"
    KEY_MISMATCH = "key-mismatch"  # the certificate's key is not what the properties say
    PURPOSE = "purpose"  # the certificate is for something else
    INVALID = "invalid"  # these are not the bytes that were signed, or not by this key


class SignatureRefused(PipelineError):
    """A signature that does not prove what it should, and why."""

    def __init__(self, reason: SignatureReason, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


@dataclass(frozen=True)
class Signed:
    """A file's digests and the four properties that sign it."""

    digests: Digests
    properties: Mapping[str, str]


@dataclass(frozen=True)
class SignatureClaim:
    """What the four properties say, taken apart."""

    signature: bytes
    method: HashMethod
    key_type: str
    certificate: str

    @classmethod
    def parse(cls, properties: Mapping[str, object]) -> SignatureClaim | None:
        """Read image properties; ``None`` when there is no signature at all.

        Raises ``SignatureRefused`` when only some of the four are there or one has an impossible value.
        """
        present = [name for name in PROPERTIES if properties.get(name) is not None]
        if not present:
            return None
        if len(present) != len(PROPERTIES):
            absent = ", ".join(name for name in PROPERTIES if name not in present)
            raise SignatureRefused(SignatureReason.INCOMPLETE, f"the image's signature is incomplete: {absent} missing")
        signature, method, key_type, certificate = (str(properties[name]) for name in PROPERTIES)
        if method not in [known.value for known in HashMethod]:
            raise _malformed(HASH_METHOD, method, [known.value for known in HashMethod])
        if key_type not in KEY_TYPES:
            raise _malformed(KEY_TYPE, key_type, KEY_TYPES)
        return cls(_decoded(signature), HashMethod(method), key_type, certificate)


class Verifier:
    """Checks one image's signature while its bytes go by: ``update`` with every block, then ``finish``.

    It hashes in a thread of its own. A caller that computes the digest anyway asks for ``algorithm`` and calls
    ``verify`` instead.
    """

    def __init__(self, claim: SignatureClaim, certificate: x509.Certificate) -> None:
        self.claim = claim
        self.certificate = certificate
        self._key = _matching_key(claim, certificate)
        self._hasher: Hasher | None = None

    @classmethod
    def create(cls, properties: Mapping[str, object], certificates: CertificateSource) -> Verifier | None:
        """Return the verifier for an image with these properties; ``None`` for an unsigned one.

        Everything that can be refused before the first byte is: raises ``SignatureRefused``.
        """
        claim = SignatureClaim.parse(properties)
        if claim is None:
            return None
        try:
            return cls(claim, certificates.get(claim.certificate))
        except CertificateMissing as missing:
            raise SignatureRefused(SignatureReason.NO_CERTIFICATE, missing.message, hint=missing.hint) from None

    @property
    def algorithm(self) -> str:
        """``hashlib``'s name of the digest that was signed."""
        return self.claim.method.algorithm

    def update(self, block: bytes) -> None:
        """Take the image's next block."""
        if self._hasher is None:
            self._hasher = Hasher([self.algorithm])
        self._hasher.update(block)

    def finish(self) -> None:
        """Raise ``SignatureRefused`` unless exactly the bytes taken were signed."""
        hasher = self._hasher or Hasher([self.algorithm])
        self.verify(bytes.fromhex(hasher.finish()[self.algorithm]))

    def close(self) -> None:
        """End the hashing without a verdict. Harmless at any time."""
        if self._hasher is not None:
            self._hasher.close()

    def verify(self, digest: bytes) -> None:
        """Raise ``SignatureRefused`` unless ``digest`` was signed."""
        prehashed = utils.Prehashed(self.claim.method.hash)
        try:
            match self._key:
                case rsa.RSAPublicKey():
                    # Any length of salt counts, as it does for cursive; signers that are not us use shorter ones.
                    scheme = padding.PSS(padding.MGF1(self.claim.method.hash), padding.PSS.AUTO)
                    self._key.verify(self.claim.signature, digest, scheme, prehashed)
                case ec.EllipticCurvePublicKey():
                    self._key.verify(self.claim.signature, digest, ec.ECDSA(prehashed))
                case dsa.DSAPublicKey():
                    self._key.verify(self.claim.signature, digest, prehashed)
        except InvalidSignature:
            raise SignatureRefused(
                SignatureReason.INVALID,
                "the signature does not match: these are not the bytes that were signed with the certificate's key",
                hint="sign the file as it is uploaded, after its last conversion",
            ) from None


def sign(
    path: Path,
    signer: Signer,
    method: HashMethod = HashMethod.SHA256,
    *,
    algorithms: Iterable[str] = USUAL,
    taps: Iterable[Callable[[bytes], object]] = (),
    progress: Progress = nothing,
) -> Signed:
    """Read ``path`` once; return its digests and the properties that sign it.

    ``taps`` see every block on the way through. Raises ``PipelineError`` when images are not signed with such keys.
    """
    if signer.kind.image_key_type is None:
        raise not_for_images(signer.kind)
    digests = digest_file(path, {*algorithms, method.algorithm}, taps=taps, progress=progress)
    return sign_digests(digests, signer, method)


def sign_digests(digests: Digests, signer: Signer, method: HashMethod) -> Signed:
    """Sign a file of which these are the digests, the one of ``method`` among them. Raises as ``sign`` does."""
    key_type = signer.kind.image_key_type
    if key_type is None:
        raise not_for_images(signer.kind)
    signature = signer.sign_digest(bytes.fromhex(digests[method.algorithm]), method)
    properties = {
        SIGNATURE: base64.b64encode(signature).decode(),
        HASH_METHOD: method.value,
        KEY_TYPE: key_type,
        CERTIFICATE: signer.certificate,
    }
    return Signed(digests, properties)


def verify_file(path: Path, properties: Mapping[str, object], certificates: CertificateSource) -> None:
    """Raise ``SignatureRefused`` unless the file carries a good signature in ``properties``."""
    verifier = Verifier.create(properties, certificates)
    if verifier is None:
        raise SignatureRefused(SignatureReason.INCOMPLETE, f"{path.name} is not signed")
    digests = digest_file(path, [verifier.algorithm])
    verifier.verify(bytes.fromhex(digests[verifier.algorithm]))


def _matching_key(
    claim: SignatureClaim, certificate: x509.Certificate
) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey | dsa.DSAPublicKey:
    key = certificate.public_key()
    if problem := extensions.signing_problem(certificate):
        raise SignatureRefused(
            SignatureReason.PURPOSE, f"the certificate {claim.certificate} may not sign images: {problem}"
        )
    try:
        kind = KeyKind.of(key)
    except PipelineError as error:
        raise SignatureRefused(
            SignatureReason.KEY_MISMATCH, f"the certificate {claim.certificate}: {error.message}"
        ) from None
    # cursive takes any elliptic curve for any other; a verifier that can tell them apart should.
    if kind.image_key_type != claim.key_type:
        raise SignatureRefused(
            SignatureReason.KEY_MISMATCH,
            f"the image says it was signed with {claim.key_type}, its certificate {claim.certificate} has a {kind} key",
        )
    return key  # type: ignore[return-value]  # kinds with an image key type are exactly these


def _decoded(text: str) -> bytes:
    # Line breaks are common (base64 wraps at 76 columns); anything else that base64 would skip is not.
    compact = "".join(text.split())
    try:
        data = base64.b64decode(compact, validate=True)
        if not 1 <= len(data) <= _MAX_SIGNATURE:
            raise ValueError(f"{len(data)} bytes")
        if base64.b64encode(data).decode() != compact:
            raise ValueError("its last character has bits that mean nothing")
    except (binascii.Error, ValueError) as error:
        raise SignatureRefused(
            SignatureReason.MALFORMED, f"{SIGNATURE} is not a signature in base64: {error}"
        ) from None
    return data


def _malformed(name: str, value: str, valid: Iterable[str]) -> SignatureRefused:
    return SignatureRefused(SignatureReason.MALFORMED, f"{name} {value[:80]!r} is not one of {', '.join(valid)}")
