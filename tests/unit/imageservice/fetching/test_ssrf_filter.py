"""What the service may be made to fetch."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from pipeline.imageservice.errors import Invalid
from pipeline.imageservice.fetching.options import FetchOptions
from pipeline.imageservice.fetching.ssrf_filter import SsrfFilter

NAMES = {
    "mirror.example": ["93.184.216.34"],
    "both.example": ["93.184.216.34", "10.0.0.5"],
    "inner.example": ["10.0.0.5"],
    "six.example": ["2606:2800:220:1::1"],
    "mapped.example": ["::ffff:10.0.0.5"],
    "link.example": ["fe80::1%eth0"],
    "xn--bcher-kva.example": ["93.184.216.34"],
    "localhost": ["127.0.0.1"],
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
    checked = SsrfFilter(FetchOptions()).check(uri)
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
        "http://[::7f00:1]/x",  # IPv4-compatible
        "http://[::93.184.216.34]/x",
        "http://[::ffff:0:127.0.0.1]/x",  # SIIT
        "http://[64:ff9b:1::7f00:1]/x",
        "http://[fec0::1]/x",  # site-local
        "http://[5f00::1]/x",
        "http://[2001::1]/x",
        "http://[2001:db8::1]/x",
        "http://[3fff::1]/x",
        "http://[4000::1]/x",
        "http://[100::1]/x",
        "http://[ff0e::1]/x",
        "http://192.88.99.1/x",
        "http://100.64.0.1/x",
        "http://255.255.255.255/x",
        "http://１２７.0.0.1/x",
        "http://127。0。0。1/x",
        "http://ⓛocalhost/x",
        "http://[::1",
        5,
        None,
        ["http://mirror.example/"],
    ],
    ids=str,
)
def test_what_does_not(uri: Any) -> None:
    with pytest.raises(Invalid, match="does not pass filtering"):
        SsrfFilter(FetchOptions()).check(uri)


def test_lists() -> None:
    def passes(uri: str, **options: Any) -> bool:
        try:
            SsrfFilter(FetchOptions(**options)).check(uri)
        except Invalid:
            return False
        return True

    uri = "http://mirror.example/x"
    assert not passes(uri, allowed_schemes=["https"])
    assert not passes(uri, allowed_schemes=[], disallowed_schemes=["http"])
    assert passes(uri, allowed_schemes=["http"], disallowed_schemes=["http"])
    assert not passes(uri, allowed_hosts=["other.example"])
    assert passes(uri, allowed_hosts=["Mirror.Example"])
    for spelling in ("mirror.example", "MIRROR.example.", "ｍirror.example", "mirror。example"):
        assert not passes(uri, disallowed_hosts=[spelling])
        assert not passes(f"http://{spelling}/x", disallowed_hosts=["Mirror.Example"])
        assert passes(f"http://{spelling}/x", allowed_hosts=["mirror.example."])
    assert not passes(uri, allowed_schemes=[], disallowed_schemes=["HTTP"])
    assert not passes("http://bücher.example/x", disallowed_hosts=["xn--bcher-kva.example"])
    assert not passes("http://xn--bcher-kva.example/x", disallowed_hosts=["BÜCHER.example"])
    assert not passes(uri, allowed_ports=[443])
    assert passes("http://mirror.example:8080/x", allowed_ports=[8080])
    assert not passes(uri, allowed_ports=[], disallowed_ports=[80])
    assert passes("http://inner.example/x", allowed_networks=["10.0.0.0/8"])
    assert passes("http://mapped.example/x", allowed_networks=["10.0.0.0/8"])
    assert not passes("http://127.0.0.1/x", allowed_networks=["10.0.0.0/8"])


def test_other_alphabets_are_encoded() -> None:
    checked = SsrfFilter(FetchOptions()).check("http://bücher.example/ä.img?q=日")
    assert checked.uri == "http://xn--bcher-kva.example/%C3%A4.img?q=%E6%97%A5"
    assert checked.host == "xn--bcher-kva.example"


@pytest.mark.parametrize(
    "uri",
    [
        "http://user:secret@mirror.example/x",
        "http://inner.example/x?signature=secret#secret",
        "http://user:secret@[::1/x",
        "ftp://mirror.example/x?secret",
        "http://mirror.example:22/x?secret",
        "user:secret@mirror.example/x",
    ],
)
def test_a_refusal_tells_no_secret(uri: str) -> None:
    with pytest.raises(Invalid) as refused:
        SsrfFilter(FetchOptions()).check(uri)
    assert "secret" not in str(refused.value) and "does not pass filtering" in str(refused.value)


@pytest.mark.parametrize(
    "host",
    [
        *("mirror%2eexample", "%6dirror.example", "%31%32%37.0.0.1", "mirror.example%00", "mirror%25.example"),
        *("[fe80::1%25eth0]", "[2606:2800:220:1::1%251]", "[2606:2800:220:1::1%1]", "mirror,example", "mirror;x"),
        *("mirror'example", "mirror$example", "mirror!", "*.example", "mirror.example:443:80", "[v1.mirror]"),
    ],
)
def test_a_host_is_a_name_or_an_address(host: str) -> None:
    """Also where a proxy resolves it, which may read ``%2e`` as a dot: no list knows such a name."""
    for resolve in (True, False):
        with pytest.raises(Invalid, match="is not a URI"):
            SsrfFilter(FetchOptions(disallowed_hosts=["mirror.example"])).check(f"http://{host}/x", resolve=resolve)


def test_names_may_have_underscores_and_dots_at_the_end() -> None:
    checked = SsrfFilter(FetchOptions()).check("http://my_mirror-1.example./x", resolve=False)
    assert checked.host == "my_mirror-1.example"


def test_an_address_in_an_allowed_network_passes_in_every_dress() -> None:
    for host in ("10.1.2.3", "[::ffff:a01:203]", "[64:ff9b::a01:203]", "[2002:a01:203::1]"):
        with pytest.raises(Invalid):
            SsrfFilter(FetchOptions()).check(f"http://{host}/x")
        assert SsrfFilter(FetchOptions(allowed_networks=["10.0.0.0/8"])).check(f"http://{host}/x").addresses


def test_networks_are_checked_at_start() -> None:
    with pytest.raises(ValueError, match="does not appear"):
        FetchOptions(allowed_networks=["10.0.0.0/33"])
