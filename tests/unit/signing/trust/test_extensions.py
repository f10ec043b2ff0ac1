"""What certificates' extensions say: of themselves, and of what is below them."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose
from cryptography.x509.oid import NameOID

from pipeline.signing.trust import chain, extensions
from pipeline.signing.trust.chain import ChainReason, ChainRefused

NOW = datetime.datetime.now(datetime.UTC)
Extension = tuple[x509.ExtensionType, bool]
ORGANIZATION = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Acme")])


def named(organization: str, common: str) -> x509.Name:
    pairs = ((NameOID.ORGANIZATION_NAME, organization), (NameOID.COMMON_NAME, common))
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in pairs])


class Made:
    def __init__(
        self, subject: x509.Name, issuer: Made | None, *given: Extension, ca: bool, usage: x509.KeyUsage | None
    ) -> None:
        self.key = ec.generate_private_key(ec.SECP384R1())
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - datetime.timedelta(days=1))
            .not_valid_after(NOW + datetime.timedelta(days=9))
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
        )
        if usage is not None:
            builder = builder.add_extension(usage, critical=True)
        for extension, critical in given:
            builder = builder.add_extension(extension, critical)
        self.certificate: x509.Certificate = builder.sign((issuer or self).key, hashes.SHA384())


def usage(
    *, signs: bool = False, certifies: bool = False, commits: bool = False, agrees: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(signs, commits, False, False, agrees, certifies, False, False, False)


def authority(*given: Extension, issuer: Made | None = None, organization: str = "Acme", name: str = "root") -> Made:
    return Made(named(organization, name), issuer, *given, ca=True, usage=usage(certifies=True))


def leaf(
    issuer: Made | None,
    *given: Extension,
    organization: str = "Acme",
    key_usage: x509.KeyUsage | None = None,
) -> Made:
    return Made(named(organization, "leaf"), issuer, *given, ca=False, usage=key_usage)


def purposes(*oids: x509.ObjectIdentifier, critical: bool = False) -> Extension:
    return x509.ExtendedKeyUsage(list(oids)), critical


def reason(made: Made, trusted: Sequence[Made]) -> ChainReason | None:
    try:
        chain.validate(made.certificate, [each.certificate for each in trusted])
    except ChainRefused as refused:
        return refused.reason
    return None


@pytest.mark.parametrize(
    ("given", "key_usage", "may"),
    [
        ((), None, True),  # openssl req -x509
        ((), usage(signs=True), True),
        ((), usage(commits=True), True),
        ((), usage(agrees=True), False),
        ((), usage(certifies=True), False),
        ((purposes(Purpose.CODE_SIGNING),), usage(signs=True), True),
        ((purposes(Purpose.SERVER_AUTH, Purpose.CODE_SIGNING),), None, True),
        ((purposes(Purpose.ANY_EXTENDED_KEY_USAGE),), None, True),
        ((purposes(Purpose.SERVER_AUTH),), usage(signs=True), False),
        ((purposes(Purpose.CLIENT_AUTH, Purpose.EMAIL_PROTECTION),), None, False),
        ((purposes(Purpose.SERVER_AUTH, critical=True),), None, False),
        (((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),), None, False),
        (((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), False),), None, True),
        (((x509.PolicyConstraints(0, None), True),), None, False),
        (((x509.SubjectAlternativeName([x509.DNSName("a.example.org")]), True),), None, True),
    ],
)
def test_who_may_sign_images(given: Sequence[Extension], key_usage: x509.KeyUsage | None, may: bool) -> None:
    root = authority()
    made = leaf(root, *given, key_usage=key_usage)
    assert (extensions.signing_problem(made.certificate) is None) is may
    assert reason(made, [root]) == (None if may else ChainReason.EXTENSIONS)


@pytest.mark.parametrize(
    ("given", "may"),
    [
        ((purposes(Purpose.CODE_SIGNING),), True),
        ((purposes(Purpose.SERVER_AUTH),), False),
        (((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),), False),
        (((x509.InhibitAnyPolicy(0), True),), False),
    ],
)
@pytest.mark.parametrize("where", ["root", "middle"])
def test_who_may_vouch_for_them(given: Sequence[Extension], may: bool, where: str) -> None:
    root = authority(*(given if where == "root" else ()))
    middle = authority(*(given if where == "middle" else ()), issuer=root, name="middle")
    assert reason(leaf(middle), [root, middle]) == (None if may else ChainReason.EXTENSIONS)


def constraint(permitted: Sequence[x509.GeneralName] = (), excluded: Sequence[x509.GeneralName] = ()) -> Extension:
    return x509.NameConstraints(list(permitted) or None, list(excluded) or None), True


def alternative(*names: x509.GeneralName) -> Extension:
    return x509.SubjectAlternativeName(list(names)), False


ACME = x509.DirectoryName(ORGANIZATION)
ACME_FOLDED = x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, " ACME ")]))
DNS = x509.DNSName("example.org")
MAIL = x509.RFC822Name("example.org")


@pytest.mark.parametrize(
    ("bound", "organization", "given", "may"),
    [
        (constraint([ACME]), "Acme", (), True),
        (constraint([ACME_FOLDED]), "Acme", (), True),
        (constraint([ACME]), "Other", (), False),
        (constraint([ACME]), "Acme Evil", (), False),
        (constraint(excluded=[ACME]), "Acme", (), False),
        (constraint(excluded=[ACME]), "Other", (), True),
        (constraint([ACME]), "Acme", (alternative(x509.DirectoryName(named("Other", "x"))),), False),
        (constraint([DNS]), "Acme", (), True),
        (constraint([DNS]), "Acme", (alternative(x509.DNSName("a.example.org")),), True),
        (constraint([DNS]), "Acme", (alternative(x509.DNSName("a.example.com")),), False),
        (constraint(excluded=[DNS]), "Acme", (alternative(x509.DNSName("a.example.org")),), False),
        (constraint([ACME, DNS]), "Acme", (alternative(x509.DNSName("a.example.org")),), False),
        (constraint([ACME, DNS]), "Acme", (), True),
        (constraint(excluded=[ACME]), "\uff21\uff23\u00adME\u200b", (), False),  # another spelling of the same name
        (constraint([MAIL]), "Acme", (alternative(x509.RFC822Name("a@example.org")),), True),
        (constraint([MAIL]), "Acme", (alternative(x509.RFC822Name("a@example.com")),), False),
        (constraint([ACME, MAIL]), "Acme", (), True),
    ],
)
@pytest.mark.parametrize("where", ["root", "middle"])
def test_name_constraints(
    bound: Extension, organization: str, given: Sequence[Extension], may: bool, where: str
) -> None:
    root = authority(*((bound,) if where == "root" else ()))
    middle = authority(*((bound,) if where == "middle" else ()), issuer=root, organization="Acme", name="middle")
    made = leaf(middle, *given, organization=organization)
    if where == "root" and bound[0] == constraint(excluded=[ACME])[0]:
        may = False  # the intermediate bears the excluded name itself
    assert reason(made, [root, middle]) == (None if may else ChainReason.EXTENSIONS)


@pytest.mark.parametrize(
    ("bound", "address", "may"),
    [
        (constraint([MAIL]), "a@EXAMPLE.org", True),
        (constraint([MAIL]), "a@evil.org", False),
        (constraint([MAIL]), "a@sub.example.org", False),
        (constraint([ACME, MAIL]), "a@evil.org", False),
        (constraint(excluded=[MAIL]), "a@example.org", False),
        (constraint(excluded=[MAIL]), "a@example.org.", False),  # nobody can say where that leads
        (constraint(excluded=[MAIL]), "a@example.com", True),
        (constraint([DNS]), "a@evil.org", True),
    ],
)
@pytest.mark.parametrize("given", [(), (alternative(x509.DNSName("a.example.org")),)])
def test_an_address_in_the_subject_is_bound_as_well(
    bound: Extension, address: str, may: bool, given: Sequence[Extension]
) -> None:
    if given and len(bound[0].permitted_subtrees or ()) == 2:  # type: ignore[attr-defined]
        may = False  # several kinds, and names of another kind than these: refused unseen
    root = authority(bound)
    subject = x509.Name([*named("Acme", "leaf"), x509.NameAttribute(NameOID.EMAIL_ADDRESS, address)])
    made = Made(subject, root, *given, ca=False, usage=None)
    assert reason(made, [root]) == (None if may else ChainReason.EXTENSIONS)
