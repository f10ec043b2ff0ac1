"""Names in certificates, beside what an authority is bound to."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from pipeline.signing.trust import names


def organization(text: str, *more: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in (text, *more)])


@pytest.mark.parametrize(
    "spelling",
    [
        "acme corp",
        " ACME  Corp ",
        "\uff21cme\u3000corp",
        "A\u00adcme corp",
        "Acme\u200b corp",
        "Acme\ufe0f corp",
        "Acme\tcorp",
    ],
)
def test_spellings_of_one_name(spelling: str) -> None:
    assert names.is_below(organization(spelling, "unit"), organization("Acme Corp"))
    assert names.is_below(organization("Acme Corp"), organization(spelling))


@pytest.mark.parametrize("other", ["acmecorp", "acme corp.", "\u00c1cme corp", "acme"])
def test_other_names(other: str) -> None:
    assert not names.is_below(organization(other), organization("Acme Corp"))


@pytest.mark.parametrize(
    ("subtree", "below"),
    [
        ("example.org", {"a@example.org", "A@EXAMPLE.ORG"}),
        (".example.org", {"a@sub.example.org"}),
        ("a@example.org", {"a@example.org"}),
        ("", {"a@example.org", "A@EXAMPLE.ORG", "a@sub.example.org", "a@notexample.org"}),
    ],
)
def test_addresses(subtree: str, below: set[str]) -> None:
    every = {"a@example.org", "A@EXAMPLE.ORG", "a@sub.example.org", "a@notexample.org"}
    assert {each for each in every if names.is_address_below(each, subtree)} == below


@pytest.mark.parametrize("odd", ["a@b@c.org", '"a"@c.org', "a@c.org.", "a @c.org", "a@\u00e9.org", "c.org", "a@c..org"])
def test_odd_addresses(odd: str) -> None:
    assert not names.is_plain_address(odd)
