from __future__ import annotations

from cryptography.hazmat.primitives import serialization

from pipeline.base.home import Home
from pipeline.host.doctor import PreflightLevel
from pipeline.signing import preflight
from pipeline.signing.keys.keyring import Keyring
from pipeline.signing.trust.certificates import Authority
from pipeline.signing.trust.kinds import KeyKind


def certify(home: Home, keyring: Keyring, name: str, days: int) -> None:
    """Give a key a certificate that is good for so many days."""
    authority = Authority.new(KeyKind.P384.generate())
    public = serialization.load_pem_public_key((home.keys / name / "1.pub.pem").read_bytes())
    chain = (authority.issue(public, name, days=days), authority.certificate)  # type: ignore[arg-type]
    keyring.certify(name, b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain))


def levels(home: Home) -> dict[str, PreflightLevel]:
    return {verdict.text.split()[3]: verdict.level for verdict in preflight.certificates(home)}


def test_certificates_that_end_soon_are_told_of(home: Home, keyring: Keyring) -> None:
    for name, days in (("fresh", 90), ("soon", 30), ("ended", 0)):
        keyring.new(name)
        certify(home, keyring, name, days)
    assert levels(home) == {
        "ca": PreflightLevel.GOOD,
        "fresh": PreflightLevel.GOOD,
        "soon": PreflightLevel.WARNING,
        "ended": PreflightLevel.FAILURE,
    }


def test_revoked_keys_need_no_certificate(home: Home, keyring: Keyring) -> None:
    keyring.new("gone")
    keyring.revoke("gone", "lost")
    assert "gone" not in levels(home)


def test_private_keys_that_others_can_read_are_told_of(home: Home, keyring: Keyring) -> None:
    assert [verdict.level for verdict in preflight.keys(home)] == [PreflightLevel.GOOD]
    keyring.new("mine")
    assert {verdict.level for verdict in preflight.keys(home)} == {PreflightLevel.GOOD}
    (home.keys / "mine" / "1.pem").chmod(0o644)
    assert [verdict.level for verdict in preflight.keys(home)].count(PreflightLevel.FAILURE) == 1
