"""Name the kinds of keys and digests that sign images, and what each is called where.

Image signatures know RSA-PSS, DSA and ECDSA on a few curves (cursive, ``signature_utils``); attestations take P-256 and
Ed25519 too. New keys are never DSA and never RSA below 2048 bits.
"""

from __future__ import annotations

from enum import StrEnum

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from pipeline.base.errors import PipelineError

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | dsa.DSAPublicKey
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | dsa.DSAPrivateKey

_CURVES: dict[str, type[ec.EllipticCurve]] = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1}
_MIN_RSA_BITS = 2048
_MIN_CURVE_BITS = 224


class HashMethod(StrEnum):
    """A digest that can be signed, named as ``img_signature_hash_method`` names it."""

    SHA224 = "SHA-224"
    SHA256 = "SHA-256"
    SHA384 = "SHA-384"
    SHA512 = "SHA-512"

    @property
    def algorithm(self) -> str:
        """``hashlib``'s name."""
        return self.value.replace("-", "").lower()

    @property
    def hash(self) -> hashes.HashAlgorithm:
        """The object that ``cryptography`` wants."""
        made: hashes.HashAlgorithm = getattr(hashes, self.name)()
        return made


class KeyKind(StrEnum):
    """What a key is."""

    P256 = "p256"
    P384 = "p384"
    P521 = "p521"
    RSA2048 = "rsa2048"
    RSA3072 = "rsa3072"
    RSA4096 = "rsa4096"
    ED25519 = "ed25519"
    DSA = "dsa"

    @property
    def is_rsa(self) -> bool:
        """Whether it is RSA, of whatever length."""
        return self.value.startswith("rsa")

    @property
    def is_ec(self) -> bool:
        """Whether it is an elliptic curve key for ECDSA."""
        return self.value in _CURVES

    @property
    def can_be_generated(self) -> bool:
        """Whether new keys of this kind are made; others can only be imported."""
        return self is not KeyKind.DSA

    @property
    def image_key_type(self) -> str | None:
        """The value of ``img_signature_key_type``; ``None`` when image signatures don't know this kind."""
        named = {KeyKind.P384: "ECC_SECP384R1", KeyKind.P521: "ECC_SECP521R1", KeyKind.DSA: "DSA"}
        return "RSA-PSS" if self.is_rsa else named.get(self)

    @property
    def message_hash(self) -> HashMethod:
        """The digest that goes with the key in envelopes (securesystemslib's schemes)."""
        return {KeyKind.P384: HashMethod.SHA384, KeyKind.P521: HashMethod.SHA512}.get(self, HashMethod.SHA256)

    def generate(self) -> PrivateKey:
        """Return a new key."""
        if self.is_rsa:
            return rsa.generate_private_key(65537, int(self.value.removeprefix("rsa")))
        if self.is_ec:
            return ec.generate_private_key(_CURVES[self.value]())
        if self is KeyKind.ED25519:
            return ed25519.Ed25519PrivateKey.generate()
        raise PipelineError("new DSA keys are not made", hint="use p384 (the default) or rsa3072")

    @classmethod
    def of(cls, key: object) -> KeyKind:
        """Return the kind of a public or private key. Raises ``PipelineError`` for keys that are not used here."""
        if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
            return cls._of_rsa(key.key_size)
        if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
            for name, curve in _CURVES.items():
                if isinstance(key.curve, curve):
                    return cls(name)
            raise PipelineError(f"keys on the curve {key.curve.name} are not used", hint="use P-384 or P-521")
        if isinstance(key, ed25519.Ed25519PublicKey | ed25519.Ed25519PrivateKey):
            return cls.ED25519
        if isinstance(key, dsa.DSAPublicKey | dsa.DSAPrivateKey):
            if key.key_size < _MIN_RSA_BITS:
                raise PipelineError(f"a DSA key of {key.key_size} bits is too weak", hint="use P-384")
            return cls.DSA
        raise PipelineError("this is no key that images are signed with", hint="use RSA, P-384 or P-521")

    @classmethod
    def _of_rsa(cls, bits: int) -> KeyKind:
        if bits < _MIN_RSA_BITS:
            raise PipelineError(f"an RSA key of {bits} bits is too weak", hint=f"use {_MIN_RSA_BITS} bits or more")
        try:
            return cls(f"rsa{bits}")
        except ValueError:
            raise PipelineError(f"RSA keys of {bits} bits are not used", hint="use 2048, 3072 or 4096 bits") from None


def is_weak(key: object) -> bool:
    """Return whether a public key of whatever kind is so short that others could find its private one."""
    least = _MIN_CURVE_BITS if isinstance(key, ec.EllipticCurvePublicKey) else _MIN_RSA_BITS
    return bool(getattr(key, "key_size", least) < least)
