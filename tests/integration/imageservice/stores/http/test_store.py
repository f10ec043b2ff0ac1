"""The store that reads from web servers: ranges, redirects, lengths, and where it must not go."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pipeline.imageservice.fetching.options import FetchOptions
from pipeline.imageservice.fetching.ssrf_filter import SsrfFilter
from pipeline.imageservice.stores.base import DriverContext
from pipeline.imageservice.stores.errors import (
    BadLocation,
    ObjectMissing,
    StoreDamaged,
    StoreError,
    StoreUnavailable,
    WriteRefused,
)
from pipeline.imageservice.stores.http.options import HttpOptions
from pipeline.imageservice.stores.http.store import HttpStore
from tests.environments import tls
from tests.environments.daemon import free_port
from tests.environments.fixtures import installed
from tests.environments.nginx import nginx
from tests.environments.relay import relay
from tests.unit.imageservice.stores.contract import attempt, pattern, read

pytestmark = pytest.mark.server

DATA = pattern(3 << 20)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tls.Certificate:
    return tls.for_loopback(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, certificate: tls.Certificate) -> Iterator[str]:
    """nginx: `/ranges/` does ranges, `/none/` doesn't, `/moved/` and `/circle` redirect, `/secret/` refuses."""
    root, plain, secure = tmp_path_factory.mktemp("web"), free_port(), free_port()
    for folder in ("ranges", "none", "compressed"):
        (root / folder).mkdir()
        (root / folder / "image").write_bytes(DATA)
        (root / folder / "empty").write_bytes(b"")
    server = f"""
    gzip_types *;
    server {{
        listen 127.0.0.1:{plain};
        listen 127.0.0.1:{secure} ssl;
        ssl_certificate {certificate.certificate};
        ssl_certificate_key {certificate.key};
        root {root};
        location /none/ {{ max_ranges 0; }}
        location /compressed/ {{ gzip on; gzip_min_length 1; }}
        location /moved/ {{ rewrite ^/moved/(.*)$ /ranges/$1 redirect; }}
        location /secured/ {{ return 302 https://localhost:{secure}/ranges/image; }}
        location /circle {{ return 302 /circle; }}
        location /inside {{ return 302 http://10.255.255.1/image; }}
        location /elsewhere {{ return 302 file:///etc/passwd; }}
        location /secret/ {{ return 403; }}
        location /signed/ {{ if ($request_method = HEAD) {{ return 403; }} rewrite ^/signed/(.*)$ /ranges/$1 break; }}
        location /signed-none/ {{
            if ($request_method = HEAD) {{ return 405; }}
            rewrite ^/signed-none/(.*)$ /ranges/$1 break;
            max_ranges 0;
        }}
    }}"""
    with installed(nginx(server, port=plain)):
        yield f"http://127.0.0.1:{plain}"


@pytest.fixture
def make(certificate: tls.Certificate) -> Callable[..., HttpStore]:
    def make(networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128"), **more: object) -> HttpStore:
        ssrf_filter = SsrfFilter(FetchOptions(allowed_ports=list(range(1, 65536)), allowed_networks=list(networks)))
        options = HttpOptions.model_validate({"id": "web", "ca_file": certificate.authority, **more})
        return HttpStore(options, DriverContext(check_uri=ssrf_filter.check))

    return make


@pytest.mark.parametrize("folder", ["ranges", "none", "moved", "compressed", "signed", "signed-none"])
def test_reads(make: Callable[..., HttpStore], url: str, folder: str) -> None:
    store, uri = make(), f"{url}/{folder}/image"
    size = len(DATA)
    assert store.size(uri) == size
    for offset, length in [(0, None), (0, 1), (5, 7), (1 << 20, 1 << 20), (size - 1, 1), (size - 1, None), (size, 0)]:
        wanted = DATA[offset : size if length is None else offset + length]
        assert read(store, uri, offset=offset, length=length) == wanted, (offset, length)
    for offset, length in [(0, size + 1), (size, 1), (size + 1, None), (-1, 1), (0, -1)]:
        with pytest.raises(ValueError):
            read(store, uri, offset=offset, length=length)
    assert read(store, f"{url}/{folder}/empty") == b""
    assert read(store, f"{uri}#fragment", offset=size - 3) == DATA[-3:]


def test_reads_over_tls(make: Callable[..., HttpStore], url: str) -> None:
    assert read(make(), f"{url}/secured/") == DATA
    with pytest.raises(StoreUnavailable):
        make(ca_file=None).reader(f"{url}/secured/")


def test_a_broken_connection_is_gone_on_with(make: Callable[..., HttpStore], url: str) -> None:
    with relay(url) as between:
        between.die(after=1 << 20)
        with make().reader(f"{between.url}/ranges/image", offset=7) as reader:
            data = reader.read(1 << 19)
            threading.Timer(0.3, between.mend).start()
            while piece := reader.read(1 << 20):
                data += piece
    assert data == DATA[7:]


def test_what_is_missing_or_refused(make: Callable[..., HttpStore], url: str) -> None:
    with pytest.raises(ObjectMissing):
        make().reader(f"{url}/ranges/nothing")
    assert not make().exists(f"{url}/ranges/nothing")
    with pytest.raises(StoreUnavailable, match="403"):
        make().reader(f"{url}/secret/")
    with pytest.raises(StoreUnavailable, match=r"403 \(Forbidden\)"):
        make().size(f"{url}/secret/")
    with pytest.raises(StoreUnavailable, match="redirects more than"):
        make().reader(f"{url}/circle")


def test_nothing_leads_inside(make: Callable[..., HttpStore], url: str) -> None:
    for uri in (f"{url}/inside", f"{url}/elsewhere"):
        with pytest.raises(StoreError):
            make(connect_timeout=1).reader(uri)
    with pytest.raises(StoreUnavailable, match="may not fetch"):
        make(networks=()).size(f"{url}/ranges/image")


def test_addresses(make: Callable[..., HttpStore], url: str) -> None:
    store = make()
    assert store.owns("https://example.com:8080/a/b?c=d")
    for uri in ("", "file:///etc/passwd", "http://", "http:///x", "http://user:pw@host/", "http://host/a b",
                "http://host/\n", "http://[::1/", "http://host:99999/", "ftp://host/x", "http://hóst/"):  # fmt: skip
        assert not store.owns(uri), uri
        with pytest.raises(BadLocation):
            store.reader(uri)


def test_takes_nothing(make: Callable[..., HttpStore], url: str) -> None:
    store = make()
    assert not store.capabilities.writable
    with pytest.raises(WriteRefused):
        store.writer("x", size=1, attempt=attempt())
    with pytest.raises(WriteRefused):
        store.delete(f"{url}/ranges/image")
    assert read(store, f"{url}/ranges/image") == DATA
    assert store.find("image") is None


def test_a_connection_that_breaks_or_hangs(make: Callable[..., HttpStore], url: str) -> None:
    with relay(url) as between:
        store = make(read_timeout=1, connect_timeout=1)
        uri = f"{between.url}/ranges/image"
        between.die(after=1 << 20)
        with store.reader(uri) as reader, pytest.raises((StoreUnavailable, StoreDamaged)):
            while reader.read(1 << 20):
                pass
        with pytest.raises(StoreUnavailable):
            store.size(uri)
        between.mend()
        assert store.size(uri) == len(DATA)
        between.fall_silent()
        with pytest.raises(StoreUnavailable):
            store.size(uri)


@pytest.fixture
def odd_server() -> Iterator[str]:
    """Tells no length, or too large a one."""

    class Odd(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            if urlsplit(self.path).path == "/too-large":
                self.send_header("Content-Length", "1000")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(b"x" * 10)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Odd) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_length_must_be_told_and_kept(make: Callable[..., HttpStore], odd_server: str) -> None:
    with pytest.raises(StoreUnavailable, match="how long"):
        make().reader(f"{odd_server}/no-length")
    with pytest.raises((StoreDamaged, StoreUnavailable)):
        read(make(), f"{odd_server}/too-large")


def test_a_missing_certificate_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ca_file"):
        HttpOptions(id="web", ca_file=tmp_path / "none")
