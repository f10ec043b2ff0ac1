"""Our verdict on certificate chains: never more than what Nova accepts with cursive."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from castellan.common.objects import x_509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID
from cursive import certificate_utils, signature_utils
from cursive import exception as cursive_exception

from pipeline.signing.trust import certificates, chain
from pipeline.signing.trust.chain import ChainReason, ChainRefused

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
NOW = datetime.datetime.now(datetime.UTC)


class Made:
    """A certificate with its key."""

    def __init__(
        self,
        name: str,
        issuer: Made | None = None,
        *,
        ca: bool | None = True,
        sign: bool | None = True,
        length: int | None = None,
        start: int = -1,
        end: int = 10,
        key: Key | None = None,
        pss: bool = False,
        claims_issuer: Made | None = None,
    ) -> None:
        self.key: Key = key or ec.generate_private_key(ec.SECP384R1())
        signer = (issuer or self).key
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        parent = claims_issuer or issuer
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(parent.certificate.subject if parent else subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + datetime.timedelta(days=start))
            .not_valid_after(NOW + datetime.timedelta(days=end))
        )
        if ca is not None:
            builder = builder.add_extension(x509.BasicConstraints(ca, length if ca else None), critical=True)
        if sign is not None:
            builder = builder.add_extension(
                x509.KeyUsage(not sign, False, False, False, False, sign, False, False, False), critical=True
            )
        rsa_padding = padding.PSS(padding.MGF1(hashes.SHA256()), 32) if pss else None
        self.certificate: x509.Certificate = builder.sign(signer, hashes.SHA256(), rsa_padding=rsa_padding)


def leaf(issuer: Made | None, **options: object) -> Made:
    return Made("leaf", issuer, **{"ca": False, "sign": False, **options})  # type: ignore[arg-type]


Case = Callable[[], tuple[Made, list[Made]]]


def direct(**options: object) -> tuple[Made, list[Made]]:
    root = Made("root", **options)  # type: ignore[arg-type]
    return leaf(root), [root]


def through(pick: str, *, root_length: int | None = None, depth: int = 1) -> tuple[Made, list[Made]]:
    authorities = [Made("root", length=root_length)]
    for number in range(depth):
        authorities.append(Made(f"middle {number}", authorities[-1]))
    chosen = {"all": authorities, "root": authorities[:1], "middle": authorities[1:]}[pick]
    return leaf(authorities[-1]), chosen


def forged() -> tuple[Made, list[Made]]:
    root, other = Made("root"), Made("other")
    return Made("leaf", other, ca=False, sign=False, claims_issuer=root), [root]


def alone(trusted: bool, **options: object) -> tuple[Made, list[Made]]:
    made = leaf(None, **options)
    return made, [made] if trusted else [Made("unrelated")]


def with_leaf(**options: object) -> tuple[Made, list[Made]]:
    root = Made("root")
    return leaf(root, **options), [root]


RSA = {"key": rsa.generate_private_key(65537, 2048)}
SHORT = rsa.generate_private_key(65537, 1024)
CASES: dict[str, tuple[Case, ChainReason | None]] = {
    "issued by a trusted root": (direct, None),
    "through an intermediate, both trusted": (lambda: through("all"), None),
    "only the intermediate is trusted": (lambda: through("middle"), ChainReason.NO_ISSUER),
    "only the root is trusted, there is an intermediate": (lambda: through("root"), ChainReason.NO_ISSUER),
    "the leaf has expired": (lambda: with_leaf(start=-5, end=-1), ChainReason.DATES),
    "the leaf is not yet valid": (lambda: with_leaf(start=1), ChainReason.DATES),
    "the root has expired": (lambda: direct(start=-5, end=-1), ChainReason.NO_ISSUER),
    "the root is no CA": (lambda: direct(ca=False), ChainReason.NO_ISSUER),
    "the root may not sign certificates": (lambda: direct(sign=False), ChainReason.NO_ISSUER),
    "the root has no basic constraints": (lambda: direct(ca=None), ChainReason.NO_ISSUER),
    "the root has no key usage": (lambda: direct(sign=None), ChainReason.NO_ISSUER),
    "the chain is as long as the root allows": (lambda: through("all", root_length=1), None),
    "the chain is longer than the root allows": (lambda: through("all", root_length=0), ChainReason.PATH_LENGTH),
    "two intermediates where one is allowed": (lambda: through("all", root_length=1, depth=2), ChainReason.PATH_LENGTH),
    "a trusted self-signed leaf that says nothing of its usage": (
        lambda: alone(True, ca=True, sign=None),
        ChainReason.NO_ISSUER,
    ),
    "a trusted self-signed leaf for certificates only": (
        lambda: alone(True, ca=True, sign=True),
        ChainReason.EXTENSIONS,
    ),
    "a trusted self-signed leaf that is no CA": (lambda: alone(True), ChainReason.NO_ISSUER),
    "an untrusted self-signed leaf": (lambda: alone(False, ca=True, sign=True), ChainReason.NO_ISSUER),
    "an RSA root": (lambda: direct(**RSA), None),
    "an RSA root that signs with PSS": (
        lambda: ((root := Made("root", **RSA, pss=True)), (leaf(root, pss=True), [root]))[1],  # type: ignore[arg-type]
        ChainReason.NO_ISSUER,
    ),
    "an RSA root whose key is too short": (lambda: direct(key=SHORT), ChainReason.WEAK_KEY),
    "an RSA leaf whose key is too short": (lambda: with_leaf(key=SHORT), ChainReason.WEAK_KEY),
    "another key under the root's name": (forged, ChainReason.NO_ISSUER),
    "nothing is trusted": (lambda: (direct()[0], []), ChainReason.NO_ISSUER),
}


@pytest.mark.parametrize("name", CASES)
def test_we_agree_with_cursive(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case, expected = CASES[name]
    made, trusted = case()
    store = {str(uuid.uuid4()): each.certificate for each in [*trusted, made]}
    identities = list(store)

    class Manager:
        def get(self, context: object, identity: str) -> x_509.X509:
            return x_509.X509(store[identity].public_bytes(serialization.Encoding.DER))

    monkeypatch.setattr(signature_utils.key_manager, "API", Manager)
    try:
        certificate_utils.verify_certificate(None, identities[-1], identities[:-1])
        theirs = True
    except cursive_exception.SignatureVerificationError:
        theirs = False

    found: ChainReason | None = None
    try:
        chain.validate(made.certificate, [each.certificate for each in trusted])
    except ChainRefused as refused:
        found = refused.reason
    assert found == expected
    # Nova looks neither at what the extensions are for nor at the keys; we accept nothing that it refuses.
    assert theirs == (expected in (None, ChainReason.EXTENSIONS, ChainReason.WEAK_KEY))


def test_an_authority_of_a_kind_that_nova_fails_on() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
    usage = x509.KeyUsage(False, False, False, False, False, True, False, False, False)

    def issued(subject: x509.Name, public: Any, *, ca: bool) -> x509.Certificate:
        builder = x509.CertificateBuilder(name, subject, public, x509.random_serial_number())
        builder = builder.not_valid_before(NOW - datetime.timedelta(1)).not_valid_after(NOW + datetime.timedelta(1))
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
        return (builder.add_extension(usage, critical=True) if ca else builder).sign(key, None)

    root = issued(name, key.public_key(), ca=True)
    made = issued(Made("leaf").certificate.subject, Made("leaf").key.public_key(), ca=False)
    with pytest.raises(ChainRefused) as refused:
        chain.validate(made, [root])
    assert refused.value.reason is ChainReason.NO_ISSUER


def test_issuers_in_a_ring_end_somewhere() -> None:
    one = Made("one")
    two = Made("two", one)
    ring = Made("one", two, key=one.key)
    with pytest.raises(ChainRefused):
        chain.validate(leaf(two).certificate, [ring.certificate, two.certificate])


def test_unknown_trusted_ids_are_skipped(tmp_path: object) -> None:
    made, trusted = direct()

    class Source:
        def get(self, identity: str) -> x509.Certificate:
            if identity == "root":
                return trusted[0].certificate
            raise certificates.CertificateMissing("no")

    assert len(chain.validate_by_ids(made.certificate, ["gone", "root"], Source())) == 2
    with pytest.raises(ChainRefused):
        chain.validate_by_ids(made.certificate, ["gone"], Source())


def test_a_moment_in_the_past_can_be_asked_for() -> None:
    made, trusted = with_leaf(start=-5, end=-1)
    trusted = [Made("root", start=-9, key=trusted[0].key)]
    found = chain.validate(made.certificate, [trusted[0].certificate], at=NOW - datetime.timedelta(days=3))
    assert len(found) == 2
