"""Validate a certificate's chain by the rules of Nova's ``trusted_image_certificates`` (cursive).

The chain is built from the trusted list alone and has to end in a self-signed certificate of that list. Nothing is
fetched, and nothing outside the list counts, so the list says everything. Revocation is a matter of the list too. What
the certificates' extensions say counts here as well (``extensions``): we accept no chain that Nova refuses, and fewer.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa

from pipeline.base.errors import PipelineError
from pipeline.signing.trust import extensions, kinds
from pipeline.signing.trust.certificates import CertificateMissing, CertificateSource

_LONGEST = 10


class ChainReason(StrEnum):
    """Why a certificate is not trusted."""

    DATES = "dates"
    NO_ISSUER = "no-issuer"  # nothing on the list issued it
    PATH_LENGTH = "path-length"
    WEAK_KEY = "weak-key"
    EXTENSIONS = "extensions"  # one of the chain is for something else, or constrains what is below it


class ChainRefused(PipelineError):
    """A certificate that the trusted ones don't vouch for, and why."""

    def __init__(self, reason: ChainReason, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


def validate(
    certificate: x509.Certificate, trusted: Iterable[x509.Certificate], *, at: datetime.datetime | None = None
) -> Sequence[x509.Certificate]:
    """Return the chain from ``certificate`` up to its root. Raises ``ChainRefused``.

    ``at`` is the moment that all of them have to be valid at; now, without it. A trusted certificate that is out of its
    dates or may not issue others is as good as absent.
    """
    moment = at or datetime.datetime.now(datetime.UTC)
    if not _in_dates(certificate, moment):
        raise ChainRefused(
            ChainReason.DATES,
            f"the certificate of {_name(certificate)} is valid from {certificate.not_valid_before_utc:%Y-%m-%d} "
            f"to {certificate.not_valid_after_utc:%Y-%m-%d} only",
        )
    issuers = [each for each in trusted if _in_dates(each, moment) and _may_issue(each)]
    chain = [certificate]
    while (issuer := _issuer(chain[-1], issuers)) != chain[-1]:
        if issuer is None or len(chain) == _LONGEST:
            raise ChainRefused(
                ChainReason.NO_ISSUER,
                f"no trusted certificate vouches for {_name(chain[-1])}",
                hint="trust its issuer, every issuer above, and the root (CA certificates with keyCertSign, in date)",
            )
        chain.append(issuer)
    _check_lengths(chain)
    if weak := next((each for each in chain if kinds.is_weak(each.public_key())), None):
        raise ChainRefused(
            ChainReason.WEAK_KEY,
            f"the key of {_name(weak)} is too weak to vouch for anything",
            hint="have it issued anew for a P-384 key, or an RSA key of 2048 bits or more",
        )
    if problem := extensions.chain_problem(chain, moment):
        raise ChainRefused(ChainReason.EXTENSIONS, f"{_name(certificate)} may not sign images: {problem}")
    return chain


def validate_by_ids(
    certificate: x509.Certificate, trusted: Iterable[str], source: CertificateSource
) -> Sequence[x509.Certificate]:
    """Validate as ``validate`` does, with trusted certificates in a key manager. Ids that cannot be had are skipped,
    as Nova does.
    """
    found = []
    for each in trusted:
        try:
            found.append(source.get(each))
        except CertificateMissing:
            continue
    return validate(certificate, found)


def _issuer(certificate: x509.Certificate, candidates: Sequence[x509.Certificate]) -> x509.Certificate | None:
    return next((each for each in candidates if _issued(each, certificate)), None)


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    if issuer.subject != certificate.issuer:
        return False
    key = issuer.public_key()
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | dsa.DSAPublicKey):
        return False  # Nova fails on all others (Ed25519, say)
    if isinstance(key, rsa.RSAPublicKey) and not isinstance(
        certificate.signature_algorithm_parameters, padding.PKCS1v15
    ):
        return False  # Nova cannot check PSS in certificates, so such a chain would fail there
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _may_issue(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return bool(constraints.ca and usage.key_cert_sign)


def _check_lengths(chain: Sequence[x509.Certificate]) -> None:
    for below, issuer in enumerate(chain[1:]):
        # The certificate at the chain's end does not count as an intermediate.
        allowed = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        if allowed is not None and below > allowed:
            raise ChainRefused(
                ChainReason.PATH_LENGTH, f"{_name(issuer)} allows {allowed} authorities below itself, there are {below}"
            )


def _in_dates(certificate: x509.Certificate, moment: datetime.datetime) -> bool:
    return certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "a nameless certificate"
