"""Whose request it is: by the connection, and by proxies that are believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.imageservice.api.http.client_address import ClientAddresses, parsed

ADDRESSES = ClientAddresses(["127.0.0.1", "::1", "10.9.0.0/16"])
CLIENT = "93.184.216.34"


def who(peer: str, **headers: str) -> tuple[str | None, bool, bool]:
    """The client; whether it is connected directly; whether a proxy that is believed says so."""
    found = ADDRESSES.of({"REMOTE_ADDR": peer, **{f"HTTP_{name.upper()}": text for name, text in headers.items()}})
    return (str(found.address) if found.address else None), found.direct, found.trusted


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.9.1.1", "93.184.216.34", "::1", "::ffff:127.0.0.1"])
def test_without_a_proxy_it_is_the_connection(peer: str) -> None:
    assert who(peer) == (peer.removeprefix("::ffff:"), True, False)


@pytest.mark.parametrize(
    "headers",
    [
        {"x_forwarded_for": "127.0.0.1"},
        {"x_forwarded_proto": "https"},
        {"x_forwarded_host": "x"},
        {"x_forwarded_prefix": "/"},
        {"x_forwarded": "for=127.0.0.1"},
        {"forwarded": "for=127.0.0.1"},
        {"via": "1.1 x"},
        {"x_real_ip": "127.0.0.1"},
    ],
)
def test_strangers_are_not_believed(headers: dict[str, str]) -> None:
    assert who("203.0.113.7", **headers) == ("203.0.113.7", False, False)


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        ({"x_forwarded_for": CLIENT}, CLIENT),
        ({"x_forwarded_for": f"127.0.0.1, 10.0.0.1, {CLIENT}"}, CLIENT),
        ({"x_forwarded_for": f"127.0.0.1, {CLIENT}, 10.9.0.1"}, CLIENT),
        ({"x_forwarded_for": f"{CLIENT}:4711"}, CLIENT),
        ({"x_forwarded_for": "[2606:2800:220:1::1]:4711"}, "2606:2800:220:1::1"),
        ({"x_forwarded_for": f"::ffff:{CLIENT}"}, CLIENT),
        ({"x_forwarded_for": "10.9.0.5, 127.0.0.1"}, "10.9.0.5"),
        ({"x_forwarded_for": "127.0.0.1, unknown"}, None),
        ({"x_forwarded_for": "127.0.0.1, "}, None),
        ({"forwarded": f"for={CLIENT}"}, CLIENT),
        ({"forwarded": f'for=127.0.0.1, proto=https;For="{CLIENT}:4711";by=x'}, CLIENT),
        ({"forwarded": 'for="[2606:2800:220:1::1]"'}, "2606:2800:220:1::1"),
        ({"forwarded": f"for={CLIENT}, for=_hidden"}, None),
        ({"forwarded": f"for={CLIENT}, proto=https"}, None),
        ({"forwarded": "for=127.0.0.1", "x_forwarded_for": CLIENT}, None),
        ({"forwarded": f"for={CLIENT}", "x_forwarded_for": CLIENT}, CLIENT),
        ({"x_forwarded_proto": "https"}, None),
        ({"via": "1.1 x"}, None),
    ],
)
def test_the_rightmost_address_that_is_no_trusted_proxy(headers: dict[str, str], client: str | None) -> None:
    for peer in ("127.0.0.1", "10.9.1.1", "::ffff:127.0.0.1"):
        assert who(peer, **headers) == (client, False, True)


@given(st.text(), st.text())
def test_any_text_is_understood_or_names_nobody(chain: str, forwarded: str) -> None:
    who("127.0.0.1", x_forwarded_for=chain, forwarded=forwarded)


@given(st.ip_addresses())
def test_every_spelling_of_an_address(address: object) -> None:
    text = str(address)
    with_port = f"[{text}]:1" if ":" in text else f"{text}:1"
    assert parsed(text) == parsed(with_port) == parsed(f' "{text}" ') is not None
