"""Sign with a key in memory or in a token, behind one interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa, utils

from pipeline.base.errors import PipelineError
from pipeline.signing.trust.certificates import key_id
from pipeline.signing.trust.kinds import HashMethod, KeyKind, PrivateKey, PublicKey


class Signer(Protocol):
    """A private key in use. Nothing but signatures comes out of it."""

    @property
    def kind(self) -> KeyKind:
        """What the key is."""

    @property
    def public_key(self) -> PublicKey:
        """Its public part."""

    @property
    def certificate(self) -> str:
        """The id of its certificate."""

    def sign_digest(self, digest: bytes, method: HashMethod) -> bytes:
        """Sign a digest the way image signatures do: PSS with the longest salt, ECDSA and DSA in DER."""

    def sign_message(self, message: bytes) -> bytes:
        """Sign a short message the way envelopes do: PSS with a salt of the digest's length, ECDSA in DER, Ed25519."""

    def sign_prehashed(self, digest: bytes) -> bytes:
        """Sign as ``sign_message`` does, a message whose ``kind.message_hash`` is ``digest``; ECDSA kinds only."""


@dataclass(frozen=True)
class SoftwareSigner:
    """A key in this process's memory."""

    key: PrivateKey
    certificate: str

    @property
    def kind(self) -> KeyKind:
        """What the key is."""
        return KeyKind.of(self.key)

    @property
    def public_key(self) -> PublicKey:
        """Its public part."""
        return self.key.public_key()

    def sign_digest(self, digest: bytes, method: HashMethod) -> bytes:
        """See ``Signer.sign_digest``. Raises ``PipelineError`` for kinds that image signatures don't know."""
        prehashed = utils.Prehashed(method.hash)
        match self.key:
            case rsa.RSAPrivateKey():
                longest = padding.PSS(padding.MGF1(method.hash), padding.PSS.MAX_LENGTH)
                return self.key.sign(digest, longest, prehashed)
            case ec.EllipticCurvePrivateKey() if self.kind.image_key_type:
                return self.key.sign(digest, ec.ECDSA(prehashed))
            case dsa.DSAPrivateKey():
                return self.key.sign(digest, prehashed)
        raise not_for_images(self.kind)

    def sign_message(self, message: bytes) -> bytes:
        """See ``Signer.sign_message``. Raises ``PipelineError`` for DSA, which envelopes don't know."""
        method = self.kind.message_hash.hash
        match self.key:
            case rsa.RSAPrivateKey():
                return self.key.sign(message, padding.PSS(padding.MGF1(method), method.digest_size), method)
            case ec.EllipticCurvePrivateKey():
                return self.key.sign(message, ec.ECDSA(method))
            case ed25519.Ed25519PrivateKey():
                return self.key.sign(message)
        raise PipelineError(f"attestations are not signed with {self.kind} keys", hint="use p384, p256 or ed25519")

    def sign_prehashed(self, digest: bytes) -> bytes:
        """See ``Signer.sign_prehashed``."""
        if not isinstance(self.key, ec.EllipticCurvePrivateKey):
            raise PipelineError(f"{self.kind} keys don't sign digests alone")
        return self.key.sign(digest, ec.ECDSA(utils.Prehashed(self.kind.message_hash.hash)))


def not_for_images(kind: KeyKind) -> PipelineError:
    """Return the error for a key whose image signatures no cloud could verify."""
    return PipelineError(
        f"images cannot be signed with {kind} keys: OpenStack's image signatures don't know them",
        hint="use p384 (the default), p521 or rsa3072; p256 and ed25519 are for attestations",
    )


def verify_message(key: PublicKey, message: bytes, signature: bytes) -> None:
    """Check what ``sign_message`` made. Raises ``cryptography.exceptions.InvalidSignature``."""
    method = KeyKind.of(key).message_hash.hash
    match key:
        case rsa.RSAPublicKey():
            key.verify(signature, message, padding.PSS(padding.MGF1(method), padding.PSS.AUTO), method)
        case ec.EllipticCurvePublicKey():
            key.verify(signature, message, ec.ECDSA(method))
        case ed25519.Ed25519PublicKey():
            key.verify(signature, message)
        case _:
            raise PipelineError(f"the key {key_id(key)[:16]} cannot sign attestations")
