"""HTTPS by the server itself: every answer reaches the client, and every connection ends as TLS wants it."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.environments import tls
from tests.integration.imageservice.server.plain_app import pattern
from tests.integration.imageservice.server.plain_server import MIB, Server, serve, upload_header

pytestmark = pytest.mark.server
REFUSED = "/v2/images/x/file?refuse"


@dataclass
class Secure:
    """A server with TLS, and what a client needs to trust it."""

    server: Server
    authority: Path
    context: ssl.SSLContext

    def connect(self) -> ssl.SSLSocket:
        """A connection that takes an end without close_notify for an error."""
        plain = socket.create_connection(("127.0.0.1", self.server.port), timeout=30)
        return self.context.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False)

    def http(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.server.port, context=self.context, timeout=30)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    folder = tmp_path_factory.mktemp("tls")
    made = tls.for_loopback(folder)
    (folder / "big").write_bytes(pattern(5 * MIB + 1))
    options = {"tls": {"certificate": str(made.certificate), "key": str(made.key)}}
    with serve(folder, **options) as server:
        yield Secure(server, made.authority, ssl.create_default_context(cafile=str(made.authority)))
        said = server.log.read_text()
        assert "Traceback" not in said, said


def everything(client: ssl.SSLSocket) -> bytes:
    """What comes until the server says close_notify; an end without it raises ``ssl.SSLEOFError``."""
    data = b""
    while piece := client.recv(65536):
        data += piece
    return data


def test_uploads_downloads_and_small_calls(secure: Secure) -> None:
    data, client = (secure.server.folder / "big").read_bytes(), secure.http()
    for _ in range(2):
        client.request("PUT", "/v2/images/x/file", body=data)
        assert client.getresponse().read() == f"{len(data)} {hashlib.md5(data).hexdigest()}".encode()
        client.request("GET", "/v2/images/x/file")
        assert client.getresponse().read() == data
        client.request("GET", "/hello")
        assert client.getresponse().read() == b"hello"


def test_clients_that_are_stuck_in_the_handshake(secure: Secure) -> None:
    with contextlib.ExitStack() as stuck:
        for _ in range(30):  # no handshake, or only its beginning
            stuck.enter_context(secure.server.connect()).sendall(b"\x16\x03\x01")
        client = secure.http()
        client.request("GET", "/hello")
        assert client.getresponse().read() == b"hello"


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("size", [1, 1000, MIB, 200 * MIB])
def test_a_refused_upload_is_told_why(secure: Secure, size: int, chunked: bool) -> None:
    piece = bytes(MIB)

    def data() -> Iterator[bytes]:
        for start in range(0, size, MIB):
            yield piece[: size - start]

    address = f"https://127.0.0.1:{secure.server.port}{REFUSED}"
    with requests.Session() as session:
        for _ in range(2):
            body = data() if chunked else _Sized(data(), size)
            answer = session.put(address, data=body, timeout=30, verify=str(secure.authority))
            assert (answer.status_code, answer.text) == (409, "refused")


@dataclass
class _Sized:
    """A body whose length is told before."""

    pieces: Iterator[bytes]
    length: int

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[bytes]:
        return self.pieces


def test_a_refusal_before_100_continue(secure: Secure) -> None:
    with secure.connect() as client:
        client.sendall(upload_header(10 << 30, "Expect: 100-continue", path=REFUSED))
        said = everything(client)
    assert said.startswith(b"HTTP/1.1 409")
    assert said.endswith(b"refused")


def test_a_refusal_and_data_that_comes_all_the_same(secure: Secure) -> None:
    with secure.connect() as client:
        client.sendall(upload_header(20 * MIB, path=REFUSED))
        for _ in range(20):
            client.sendall(bytes(MIB))
        assert everything(client).endswith(b"refused")


def test_a_client_that_is_refused_and_sends_nothing_more_is_let_go(secure: Secure) -> None:
    with secure.connect() as client:
        client.sendall(upload_header(20 * MIB, path=REFUSED) + bytes(MIB))
        assert everything(client).endswith(b"refused")
        # A trickle wins it no time: its connection is closed at the other end, and writing is answered by a reset.
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            for _ in range(60):
                socket.socket.sendall(client, b"x")
                time.sleep(0.5)


def test_a_short_body_nobody_reads_keeps_the_connection(secure: Secure) -> None:
    client = secure.http()
    for _ in range(3):
        client.request("GET", "/ignore-body", body=b"x" * 1000)
        answer = client.getresponse()
        assert answer.getheader("Connection") == "keep-alive"
        assert answer.read() == b"ignored"


def test_requests_that_come_in_one_record_are_all_answered(secure: Secure) -> None:
    with secure.connect() as client:
        one = b"GET /hello HTTP/1.1\r\nHost: x\r\nPadding: " + b"x" * 3000 + b"\r\n"
        client.sendall((one + b"\r\n") * 4 + one + b"Connection: close\r\n\r\n")
        assert everything(client).count(b"hello") == 5


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /hello HTTP/1.0\r\n\r\n",
        b"GET /v2/images/x/file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /" + b"x" * (17 << 10) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        upload_header(5, "Transfer-Encoding: gzip"),
        upload_header(None, path="/v2/images/x/file") + b"nonsense\r\n",
    ],
    ids=["close", "http-1.0", "download", "long-line", "coding", "chunks"],
)
def test_every_answer_ends_with_a_close_notify(secure: Secure, request_text: bytes) -> None:
    with secure.connect() as client:
        client.sendall(request_text)
        assert everything(client).startswith(b"HTTP/1.")


def test_a_kept_connection_ends_with_a_close_notify(tmp_path: Path) -> None:
    made = tls.for_loopback(tmp_path)
    with serve(tmp_path, keep_alive=1, tls={"certificate": str(made.certificate), "key": str(made.key)}) as server:
        secure = Secure(server, made.authority, ssl.create_default_context(cafile=str(made.authority)))
        with secure.connect() as client:
            client.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
            assert everything(client).endswith(b"hello")
