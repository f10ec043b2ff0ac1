"""Make X.509 certificates for keys by a local authority, keep them by id, fetch them to verify.

Nova and Glance name a certificate by its id in a key manager. The local store stands in for one: a folder with one
PEM file an id. Ids made here are UUIDs derived from the certificate (version 5), so that an exchanged file is noticed.
"""

from __future__ import annotations

import datetime
import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from pipeline.base import atomic
from pipeline.base.errors import PipelineError
from pipeline.signing.trust.kinds import PrivateKey, PublicKey

LEAF_DAYS = 3 * 365
AUTHORITY_DAYS = 10 * 365
_NAMESPACE = uuid.UUID("6f0b4c0a-7d5c-5e0e-9d62-0d6b4a2f1c11")
_MAX_BYTES = 1 << 18
# What cryptography raises while it takes a certificate apart: ``TypeError`` for a name's value of an unfit type, the
# last one for kinds of names that it has no class for (X.400 addresses, EDI parties).
_UNSOUND = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


class CertificateMissing(PipelineError):
    """No certificate can be had under an id."""


class CertificateSource(Protocol):
    """Where certificates are fetched from: a folder here, a key manager in a cloud."""

    def get(self, identity: str) -> x509.Certificate:
        """Return the certificate under ``identity``. Raises ``CertificateMissing``."""


class LocalCertificates:
    """A folder of certificates, ``ID.pem`` each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, certificate: x509.Certificate) -> str:
        """Keep a certificate; return its id. Adding it twice is harmless."""
        identity = identity_of(certificate)
        atomic.write_bytes(self.folder / f"{identity}.pem", certificate.public_bytes(serialization.Encoding.PEM))
        return identity

    def add_as(self, identity: str, certificate: x509.Certificate) -> None:
        """Keep a certificate under the id that a key manager gave it."""
        path = self.folder / f"{_require_uuid(identity)}.pem"
        atomic.write_bytes(path, certificate.public_bytes(serialization.Encoding.PEM))

    def get(self, identity: str) -> x509.Certificate:
        """Return the certificate under ``identity``. Raises ``CertificateMissing``, also when it was exchanged."""
        name = _require_uuid(identity)
        path = self.folder / f"{name}.pem"
        try:
            data = path.read_bytes()
        except OSError:
            raise CertificateMissing(
                f"there is no certificate {name} in {self.folder}",
                hint=f"put it there as {name}.pem, or name the key manager that has it",
            ) from None
        certificate = parse(data, name=path.name)
        if is_derived(name) and identity_of(certificate) != name:
            raise CertificateMissing(f"{path} is not the certificate {name}: it was exchanged or changed")
        return certificate

    def identities(self) -> list[str]:
        """Return all ids in the folder."""
        return sorted(path.stem for path in self.folder.glob("*.pem"))


@dataclass(frozen=True)
class Authority:
    """A certificate authority of one's own: a P-384 key and its self-signed certificate."""

    key: PrivateKey
    certificate: x509.Certificate

    @classmethod
    def new(cls, key: PrivateKey, name: str = "golden image pipeline") -> Self:
        """Make the self-signed certificate for ``key``."""
        subject = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, f"{name} authority {key_id(key.public_key())[:12]}")]
        )
        builder = _builder(subject, subject, key.public_key(), AUTHORITY_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        builder = builder.add_extension(_usage(authority=True), critical=True)
        return cls(key, _signed(builder, key))

    def issue(self, public: PublicKey, name: str, *, days: int = LEAF_DAYS) -> x509.Certificate:
        """Return a certificate for a signing key, valid for ``days`` but not longer than the authority's own."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"image signing key {name}"[:64])])
        builder = _builder(subject, self.certificate.subject, public, days, until=self.certificate.not_valid_after_utc)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(authority=False), critical=True)
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.certificate.public_key())  # type: ignore[arg-type]
        return _signed(builder.add_extension(issuer_key, critical=False), self.key)


def request(key: PrivateKey, name: str) -> bytes:
    """Return a certificate signing request for ``key``, PEM."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"image signing key {name}"[:64])])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(_usage(authority=False), True)
    return builder.sign(_for_certificates(key), hashes.SHA384()).public_bytes(serialization.Encoding.PEM)


def parse(data: bytes, *, name: str) -> x509.Certificate:
    """Return the first certificate in ``data``, PEM or DER. Raises ``CertificateMissing`` in plain words."""
    try:
        if len(data) > _MAX_BYTES:
            raise ValueError("too large")
        if data.lstrip().startswith(b"-----BEGIN"):
            return _sound(x509.load_pem_x509_certificate(data))
        return _sound(x509.load_der_x509_certificate(data))
    except _UNSOUND as error:
        raise CertificateMissing(f"{name} is not a sound X.509 certificate: {error}") from None


def _sound(certificate: x509.Certificate) -> x509.Certificate:
    """Take apart now what is otherwise taken apart where nobody expects it to fail."""
    certificate.public_key()
    _ = certificate.extensions
    _ = certificate.subject.rfc4514_string(), certificate.issuer
    _ = certificate.signature_hash_algorithm, certificate.signature_algorithm_parameters
    _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return certificate


def parse_chain(data: bytes, *, name: str) -> Sequence[x509.Certificate]:
    """Return all certificates in a PEM file."""
    try:
        return [_sound(each) for each in x509.load_pem_x509_certificates(data)]
    except _UNSOUND as error:
        raise CertificateMissing(f"{name} has no certificates in PEM: {error}") from None


def identity_of(certificate: x509.Certificate) -> str:
    """Return the id a certificate has in a local store."""
    return str(uuid.uuid5(_NAMESPACE, certificate.fingerprint(hashes.SHA256()).hex()))


def is_derived(identity: str) -> bool:
    """Return whether an id was made from its certificate."""
    return _version(identity) == 5


def is_random(identity: str) -> bool:
    """Return whether an id is one that key managers give, which says nothing of its certificate."""
    return _version(identity) == 4


def _version(identity: str) -> int | None:
    try:
        return uuid.UUID(identity).version
    except ValueError:
        return None


def key_id(public: object) -> str:
    """Return what a key is named by everywhere: SHA-256 (hex) of its DER SubjectPublicKeyInfo."""
    der = public.public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(der).hexdigest()


def _require_uuid(identity: str) -> str:
    try:
        return str(uuid.UUID(identity))
    except ValueError:
        raise CertificateMissing(f"{identity!r} is no certificate id: it must be a UUID") from None


def _builder(
    subject: x509.Name, issuer: x509.Name, public: PublicKey, days: int, *, until: datetime.datetime | None = None
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    end = now + datetime.timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        # Clocks of the machines that verify may be behind.
        .not_valid_before(now - datetime.timedelta(minutes=10))
        .not_valid_after(min(end, until) if until else end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(builder: x509.CertificateBuilder, key: PrivateKey) -> x509.Certificate:
    return builder.sign(_for_certificates(key), hashes.SHA384())


def _for_certificates(key: PrivateKey) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    # cursive checks certificates by PKCS#1 v1.5 or ECDSA, nothing else.
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise PipelineError("certificates are signed with RSA or ECDSA keys", hint="OpenStack verifies no others")
    return key
