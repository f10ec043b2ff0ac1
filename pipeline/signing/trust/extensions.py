"""Judge the extensions of certificates that sign images, and of those that vouch for them (RFC 5280).

What an extension says counts where it is there: a certificate without key usages, as ``openssl req -x509`` makes it,
may sign; one that is for servers only may not. A critical extension that nobody here understands refuses.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence

from cryptography import x509
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from pipeline.signing.trust import names

# Code signing and document signing (RFC 9336) are for files; email protection and the rest are not.
_FOR_IMAGES = {
    ExtendedKeyUsageOID.CODE_SIGNING,
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36"),
}
# Those that are judged here or in ``chain``; names other than the subject matter to name constraints only.
_UNDERSTOOD = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.NAME_CONSTRAINTS,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
}


def signing_problem(certificate: x509.Certificate) -> str | None:
    """Say why ``certificate`` may not sign images, if it may not."""
    usage = key_usage(certificate)
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        return "its key usage has no digitalSignature"
    return _purpose_problem(certificate) or _unknown_problem(certificate)


def chain_problem(chain: Sequence[x509.Certificate], moment: datetime.datetime) -> str | None:
    """Say why a chain, the signing certificate first and the root last, does not hold at ``moment``, if it does not."""
    problem = signing_problem(chain[0])
    for issuer in chain[1:]:
        problem = problem or _purpose_problem(issuer) or _unknown_problem(issuer)
    for number, issuer in enumerate(chain):
        problem = problem or _names_problem(issuer, chain[:number], moment)
    return problem


def key_usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    """Return the certificate's key usage; ``None`` for one that does not say."""
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None


def _purpose_problem(certificate: x509.Certificate) -> str | None:
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return None
    if _FOR_IMAGES & set(purposes):
        return None
    known = ", ".join(sorted(each._name for each in purposes))
    return f"{_name(certificate)} is for {known} only (code signing is what it takes)"


def _unknown_problem(certificate: x509.Certificate) -> str | None:
    unknown = [
        each.oid.dotted_string for each in certificate.extensions if each.critical and each.oid not in _UNDERSTOOD
    ]
    return (
        f"{_name(certificate)} has critical extensions that are not understood: {', '.join(unknown)}"
        if unknown
        else None
    )


def _names_problem(
    issuer: x509.Certificate, below: Sequence[x509.Certificate], moment: datetime.datetime
) -> str | None:
    """Whether an issuer's name constraints forbid a certificate below it (RFC 5280, 4.2.1.10)."""
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return None
    bound = [*(constraints.permitted_subtrees or ()), *(constraints.excluded_subtrees or ())]
    directories = [each for each in bound if isinstance(each, x509.DirectoryName)]
    for number, certificate in enumerate(below):
        # An authority that certified itself anew keeps its name; the certificate at the end never counts as one.
        if number == 0 or certificate.subject != certificate.issuer:
            for subject in _directory_names(certificate):
                if not names.allows_name(constraints, subject):
                    return f"{_name(issuer)} does not vouch for the name {subject.rfc4514_string()}"
            for address in _addresses(certificate):
                if not names.allows_address(constraints, address):
                    return f"{_name(issuer)} does not vouch for the address {address}"
    if len(directories) == len(bound) or not any(_has_other_names(each) for each in below):
        return None
    if directories:
        return f"{_name(issuer)} constrains several kinds of names, which cannot be judged together"
    return _library_problem([*below, issuer], moment)


def _directory_names(certificate: x509.Certificate) -> Iterator[x509.Name]:
    if list(certificate.subject):
        yield certificate.subject
    yield from (each.value for each in _alternatives(certificate) if isinstance(each, x509.DirectoryName))


def _addresses(certificate: x509.Certificate) -> Iterator[str]:
    """Yield mail addresses in the subject. Constraints count for them as well, here as in OpenSSL always (RFC 5280,
    4.2.1.10: where there are no alternative names).
    """
    for each in certificate.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS):
        yield str(each.value)


def _alternatives(certificate: x509.Certificate) -> x509.SubjectAlternativeName | tuple[()]:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()


def _has_other_names(certificate: x509.Certificate) -> bool:
    return any(not isinstance(each, x509.DirectoryName) for each in _alternatives(certificate))


def _library_problem(chain: Sequence[x509.Certificate], moment: datetime.datetime) -> str | None:
    """Return what cryptography's verifier has against a chain whose last certificate is trusted."""
    anything = verification.ExtensionPolicy.permit_all()
    authority = anything.require_present(x509.BasicConstraints, verification.Criticality.AGNOSTIC, None)
    builder = verification.PolicyBuilder().store(verification.Store([chain[-1]])).time(moment)
    verifier = builder.extension_policies(ca_policy=authority, ee_policy=anything).build_client_verifier()
    try:
        verifier.verify(chain[0], list(chain[1:-1]))
    except (verification.VerificationError, ValueError) as error:
        return f"{_name(chain[-1])} does not vouch for {_name(chain[0])}: {error}"
    return None


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "a nameless certificate"
