"""What the service may be made to fetch."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from pipeline.imageservice.access.uri_filter import FetchOptions, UriFilter
from pipeline.imageservice.errors import Invalid

NAMES = {
    "mirror.example": ["93.184.216.34"],
    "both.example": ["93.184.216.34", "10.0.0.5"],
    "inner.example": ["10.0.0.5"],
    "six.example": ["2606:2800:220:1::1"],
    "mapped.example": ["::ffff:10.0.0.5"],
    "link.example": ["fe80::1%eth0"],
}


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, port: int, **more: Any) -> list[Any]:
        if host not in NAMES:
            raise socket.gaierror
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in NAMES[host]]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.parametrize(
    ("uri", "addresses", "port"),
    [
        ("http://mirror.example/x.img", ("93.184.216.34",), 80),
        ("https://mirror.example:443/x?y=z#w", ("93.184.216.34",), 443),
        ("HTTP://MIRROR.example/", ("93.184.216.34",), 80),
        ("https://six.example/x", ("2606:2800:220:1::1",), 443),
        ("http://93.184.216.34/x", ("93.184.216.34",), 80),
        ("http://[2606:2800:220:1::1]/x", ("2606:2800:220:1::1",), 80),
    ],
)
def test_what_passes(uri: str, addresses: tuple[str, ...], port: int) -> None:
    checked = UriFilter(FetchOptions()).check(uri)
    assert (checked.addresses, checked.port, checked.uri) == (addresses, port, uri)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "mirror.example/x",
        "http://",
        "http:///x",
        "file:///etc/passwd",
        "ftp://mirror.example/x",
        "gopher://mirror.example/x",
        "http://unknown.example/x",
        "http://mirror.example:22/x",
        "http://mirror.example:99999/x",
        "http://mirror.example:0/x",
        "http://user:secret@mirror.example/x",
        "http://user@mirror.example/x",
        "http://mirror.example/x y",
        "http://mirror.example/\r\nX: y",
        "http://both.example/x",
        "http://inner.example/x",
        "http://mapped.example/x",
        "http://link.example/x",
        "http://127.0.0.1/x",
        "http://127.1/x",
        "http://2130706433/x",
        "http://0x7f000001/x",
        "http://0177.0.0.1/x",
        "http://127.0.0.1./x",
        "http://10.1.2.3/x",
        "http://169.254.169.254/latest/meta-data",
        "http://0.0.0.0/x",
        "http://224.0.0.1/x",
        "http://[::1]/x",
        "http://[::]/x",
        "http://[::ffff:127.0.0.1]/x",
        "http://[::ffff:93.184.216.34]/x",
        "http://[64:ff9b::7f00:1]/x",
        "http://[2002:7f00:1::]/x",
        "http://[fd00::1]/x",
        "http://[fe80::1]/x",
        "http://[0:0:0:0:0:0:0:1]/x",
        "http://[::1",
        5,
        None,
        ["http://mirror.example/"],
    ],
    ids=str,
)
def test_what_does_not(uri: Any) -> None:
    with pytest.raises(Invalid, match="does not pass filtering"):
        UriFilter(FetchOptions()).check(uri)


def test_lists() -> None:
    def passes(uri: str, **options: Any) -> bool:
        try:
            UriFilter(FetchOptions(**options)).check(uri)
        except Invalid:
            return False
        return True

    uri = "http://mirror.example/x"
    assert not passes(uri, allowed_schemes=["https"])
    assert not passes(uri, allowed_schemes=[], disallowed_schemes=["http"])
    assert passes(uri, allowed_schemes=["http"], disallowed_schemes=["http"])
    assert not passes(uri, allowed_hosts=["other.example"])
    assert passes(uri, allowed_hosts=["Mirror.Example"])
    assert not passes(uri, disallowed_hosts=["mirror.example"])
    assert not passes(uri, allowed_ports=[443])
    assert passes("http://mirror.example:8080/x", allowed_ports=[8080])
    assert not passes(uri, allowed_ports=[], disallowed_ports=[80])
    assert passes("http://inner.example/x", allowed_networks=["10.0.0.0/8"])
    assert passes("http://mapped.example/x", allowed_networks=["10.0.0.0/8"])
    assert not passes("http://127.0.0.1/x", allowed_networks=["10.0.0.0/8"])


def test_networks_are_checked_at_start() -> None:
    with pytest.raises(ValueError, match="does not appear"):
        FetchOptions(allowed_networks=["10.0.0.0/33"])
