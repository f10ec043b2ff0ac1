"""Fetching from servers that lie, break off, stall and redirect."""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.data.buffers import Buffers
from pipeline.imageservice.data.taps import DigestTap
from pipeline.imageservice.data.transfer import transfer
from pipeline.imageservice.errors import Gone, Invalid, LimitExceeded, ServiceError
from pipeline.imageservice.fetching.attempts import Attempts
from pipeline.imageservice.fetching.errors import FetchBroken, FetchRefused, StartAnew
from pipeline.imageservice.fetching.options import FetchOptions
from pipeline.imageservice.fetching.ssrf_filter import SsrfFilter
from pipeline.imageservice.importing.options import DownloadOptions
from pipeline.imageservice.importing.sources.web import WebSource, retry_policy
from tests.environments import tls
from tests.integration.imageservice.importing.web import Web, web
from tests.integration.imageservice.server.plain_app import pattern

pytestmark = pytest.mark.server
MIB = 1 << 20
DATA = pattern(2 * MIB + 5)


@pytest.fixture(scope="module")
def server() -> Iterator[Web]:
    with web() as running:
        running.files["x.img"] = DATA
        yield running


def fetch(uri: str, *, limit: int | None = None, cancel_token: CancelToken | None = None, **options: Any) -> str:
    """The MD5 of what is fetched."""
    networks = options.pop("networks", ["127.0.0.0/8"])
    ssrf_filter = SsrfFilter(FetchOptions(allowed_ports=[], allowed_networks=networks))
    cancel_token = cancel_token or CancelToken()
    tap = DigestTap("md5")
    settings = DownloadOptions(**{"idle_seconds": 1, "connect_seconds": 2, "pause_seconds": 0.01, **options})
    attempts = Attempts(retry_policy(settings), cancel_token, seconds=settings.total_seconds)
    with closing(WebSource(uri, ssrf_filter, settings, attempts)) as source:
        transfer(source, [], Buffers(), taps=[tap], limit=limit, cancel_token=cancel_token)
    return tap.hexdigest()


WHOLE = hashlib.md5(DATA).hexdigest()


@pytest.mark.parametrize("path", ["/x.img", "/chunked/x.img", "/x.img?a=b#c", "/redirect//x.img"])
def test_data_comes_whole(server: Web, path: str) -> None:
    if "?" in path:
        server.files["x.img?a=b"] = DATA
    assert fetch(server.url(path)) == WHOLE


@pytest.mark.parametrize("every", [500_000, MIB, 2 * MIB + 4])
def test_a_broken_connection_is_gone_on_with(server: Web, every: int) -> None:
    server.requests.clear()
    assert fetch(server.url(f"/resume/{every}/x.img"), attempts=2) == WHOLE
    asked = [asked for _, asked in server.requests]
    assert asked[:2] == [None, f"bytes={every}-"]


@pytest.mark.parametrize("fault", ["cut/1000000", "weak/1000000", "changed/1000000", "chunked-cut"])
def test_a_truncated_body_is_no_image(server: Web, fault: str) -> None:
    with pytest.raises(StartAnew, match="broke"):
        fetch(server.url(f"/{fault}/x.img"), attempts=2)


@pytest.mark.parametrize(
    ("fault", "text"), [("endless", "how long"), ("gzip", "encoding"), ("nothing/here", "status 404")]
)
def test_answers_that_are_no_data(server: Web, fault: str, text: str) -> None:
    with pytest.raises(FetchRefused, match=text) as caught:
        fetch(server.url(f"/{fault}/{'x.img' if fault != 'nothing/here' else 'y.img'}"))
    assert "secrets" not in str(caught.value)


def test_a_server_that_stalls_is_given_up(server: Web) -> None:
    server.requests.clear()
    with pytest.raises(FetchBroken, match="nothing for 1 seconds"):
        fetch(server.url("/stall/x.img"), attempts=2)
    assert len(server.requests) == 1, "nobody vouches for the file: its rest cannot be asked for"


def test_all_of_it_may_take_so_long(server: Web) -> None:
    with pytest.raises(FetchRefused, match="longer than"):
        fetch(server.url("/drip/x.img"), total_seconds=1)


def test_what_is_received_counts(server: Web) -> None:
    for path in ("/x.img", "/chunked/x.img"):
        with pytest.raises(LimitExceeded):
            fetch(server.url(path), limit=MIB)


def test_a_fetch_can_be_stopped(server: Web) -> None:
    cancel_token = CancelToken()
    cancel_token.stop(Gone("the image was deleted"))
    with pytest.raises(Gone):
        fetch(server.url("/drip/x.img"), cancel_token=cancel_token)


class Clock(CancelToken):
    """Time that passes only when somebody waits."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def test_a_fetch_can_be_slowed_down(server: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("pipeline.imageservice.importing.sources.web.time", clock)
    assert fetch(server.url("/x.img"), rate=MIB, cancel_token=clock) == WHOLE
    assert clock.now == pytest.approx(len(DATA) / MIB)


def test_the_service_says_its_name(server: Web) -> None:
    server.agents.clear()
    fetch(server.url("/x.img"), user_agent="golden images")
    assert server.agents == ["golden images"]


@pytest.mark.parametrize(
    "target",
    [
        "http:||169.254.169.254|latest|meta-data",
        "http:||10.0.0.1|x",
        "http:||[::1]|x",
        "http:||[::ffff:127.0.0.1]|x",
        "http:||0|x",
        "http:||2130706433|x",
        "http:||0x7f000001|x",
        "file:|||etc|passwd",
        "gopher:||127.0.0.1|x",
        "http:||user@127.0.0.1|x",
    ],
)
def test_redirects_are_checked_like_the_first_address(server: Web, target: str) -> None:
    with pytest.raises((Invalid, FetchBroken), match="does not pass filtering"):
        fetch(server.url(f"/redirect/{target}/x.img"), networks=["127.0.0.1/32"])


def test_redirects_end(server: Web) -> None:
    server.requests.clear()
    with pytest.raises(FetchRefused, match="redirects more than 3 times"):
        fetch(server.url("/loop/x.img"), redirects=3)
    assert len(server.requests) == 4


def test_a_name_is_resolved_once_and_the_connection_goes_there(server: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads elsewhere a moment after it was checked leads nowhere."""
    answers = iter(["127.0.0.1", "10.99.99.99"])
    real = socket.getaddrinfo

    def rebind(host: Any, port: Any, *more: Any, **options: Any) -> Any:
        if host == "rebind.example":
            return real(next(answers), port, *more, **options)
        return real(host, port, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebind)
    assert fetch(f"http://rebind.example:{server.port}/x.img", networks=["127.0.0.1/32"]) == WHOLE
    assert next(answers) == "10.99.99.99"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 999999 X\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000,
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 302 Found\r\n\r\n",
    ],
)
def test_servers_that_speak_no_http(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                try:
                    connection.sendall(answer)
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ServiceError):
            fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/x", attempts=1)
        thread.join()


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(FetchBroken, match="cannot be connected"):
        fetch(f"http://127.0.0.1:{port}/x")


@contextmanager
def encrypted(made: tls.Certificate) -> Iterator[Web]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    with web() as server:
        server.files["x.img"] = DATA
        server.socket = context.wrap_socket(server.socket, server_side=True)
        yield server


def test_https_through_a_proxy(tmp_path: Path) -> None:
    """A proxy's answer to CONNECT has neither length nor body; what follows it is the server's."""
    made, asked = tls.for_loopback(tmp_path), []
    with encrypted(made) as server, socket.create_server(("127.0.0.1", 0)) as listener:

        def connect() -> None:
            client, _ = listener.accept()
            with client, socket.create_connection(("127.0.0.1", server.port)) as onward:
                asked.append(client.recv(4096))
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=pump, args=(onward, client))
                back.start()
                pump(client, onward)
                back.join()

        thread = threading.Thread(target=connect)
        thread.start()
        uri, proxy = f"https://localhost:{server.port}/x.img", f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert fetch(uri, ca_file=made.authority, proxy=proxy) == WHOLE
        thread.join()
    assert re.match(rf"CONNECT localhost:{server.port} HTTP/1\.[01]\r\nHost: localhost:", asked[0].decode())


def pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(64 << 10):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def test_https(tmp_path: Path) -> None:
    made = tls.for_loopback(tmp_path)
    with encrypted(made) as server:
        uri = f"https://localhost:{server.port}/x.img"
        networks = ["127.0.0.0/8", "::1/128"]
        assert fetch(uri, ca_file=made.authority, networks=networks) == WHOLE
        with pytest.raises(FetchRefused, match="certificate"):
            fetch(uri, networks=networks)
        downgrade = f"https://localhost:{server.port}/redirect/http:||127.0.0.1:{server.port}|x.img/x.img"
        with pytest.raises(Invalid, match="https to http"):
            fetch(downgrade, ca_file=made.authority, networks=networks)
