"""Certificates that are none, from whoever makes them up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtensionOID, NameOID

from pipeline.signing.trust import certificates
from pipeline.signing.trust.certificates import CertificateMissing
from tests.unit.signing.trust.test_extensions import Made, authority, leaf


def sequence(content: bytes) -> bytes:
    return b"\x30" + bytes([len(content)]) + content


def unsupported_names() -> Made:
    x400 = sequence(b"\xa3\x00")  # an X.400 address
    return leaf(authority(), (x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, x400), False))


def unsupported_constraints() -> Made:
    party = sequence(b"\xa0\x04" + sequence(b"\xa5\x00"))  # bound to an EDI party
    return authority((x509.UnrecognizedExtension(ExtensionOID.NAME_CONSTRAINTS, party), True))


def bits_for_a_name() -> bytes:
    data = leaf(authority()).certificate.public_bytes(serialization.Encoding.DER)
    common = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")]).public_bytes()
    value = common[common.index(b"leaf") - 2 :]
    assert data.count(value) == 1
    return data.replace(value, b"\x03" + value[1:])


def der(made: Made) -> bytes:
    return made.certificate.public_bytes(serialization.Encoding.DER)


UNSOUND: dict[str, Callable[[], bytes]] = {
    "names of an unknown kind": lambda: der(unsupported_names()),
    "bounds of an unknown kind": lambda: der(unsupported_constraints()),
    "bits for a name": bits_for_a_name,
    "nothing": lambda: b"",
    "a beginning": lambda: b"\x30\x80",
    "no PEM": lambda: b"-----BEGIN nothing",
}


@pytest.mark.parametrize("kind", UNSOUND)
def test_what_cannot_be_taken_apart_is_refused_in_words(kind: str) -> None:
    with pytest.raises(CertificateMissing, match="brought is not a sound"):
        certificates.parse(UNSOUND[kind](), name="brought")


def test_so_are_chains_of_it() -> None:
    pem = unsupported_names().certificate.public_bytes(serialization.Encoding.PEM)
    with pytest.raises(CertificateMissing, match="brought has no certificates in PEM"):
        certificates.parse_chain(pem, name="brought")


def test_a_sound_one_is_taken() -> None:
    made = leaf(authority())
    assert certificates.parse(der(made), name="brought") == made.certificate
