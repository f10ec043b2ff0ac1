"""What fails on the network, in plain words: real sockets that refuse, fall silent, break off or speak no TLS."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest
import requests

from pipeline.host.network import error_text

pytestmark = pytest.mark.server

# Too long a name to ask anybody for: known nowhere, also where there is no network.
UNKNOWN = "a." * 130 + "b"

Answer = Callable[[socket.socket], None]


@pytest.fixture
def location() -> Iterator[Callable[[Answer], str]]:
    """A server's address; the server does one thing with each connection."""
    open_ones = []

    def listen(answer: Answer) -> str:
        listening = socket.create_server(("127.0.0.1", 0))
        open_ones.append(listening)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        return f"127.0.0.1:{listening.getsockname()[1]}"

    yield listen
    for each in open_ones:
        each.shutdown(socket.SHUT_RDWR)
        each.close()


def why(url: str, *, timeout: tuple[float, float] = (5, 5)) -> str:
    with pytest.raises((requests.RequestException, OSError)) as caught:
        requests.get(url, timeout=timeout).raise_for_status()
    return error_text.reason(caught.value, *timeout)


def closed_port() -> int:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        return int(nobody.getsockname()[1])


def test_a_port_where_nothing_listens() -> None:
    assert why(f"http://127.0.0.1:{closed_port()}/") == "nothing listens there (connection refused)"


def test_a_name_that_nobody_knows() -> None:
    assert why(f"http://{UNKNOWN}/") == "its name is not known (is there a network, is the name right?)"


def test_a_server_that_says_nothing(location: Callable[[Answer], str]) -> None:
    release = threading.Event()

    def silent(connection: socket.socket) -> None:
        release.wait(10)

    said = why(f"http://{location(silent)}/", timeout=(5, 0.2))
    release.set()
    assert said == "no answer within 0.2 s"


def test_a_connection_that_breaks(location: Callable[[Answer], str]) -> None:
    def half(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")

    def hang_up(connection: socket.socket) -> None:
        connection.recv(1 << 16)

    for answer in (half, hang_up):
        assert why(f"http://{location(answer)}/") == "the connection broke"


def test_a_server_without_tls(location: Callable[[Answer], str]) -> None:
    def plain(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    assert why(f"https://{location(plain)}/") == "it speaks no TLS that this machine accepts"


def test_an_answer_that_is_a_refusal(location: Callable[[Answer], str]) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    assert why(f"http://{location(refuse)}/") == "the server answered 503 Service Unavailable"


def test_a_proxy_that_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert why("http://mirror.invalid/") == "the proxy that the environment names does not work"


def test_a_circle_of_redirects(location: Callable[[Answer], str]) -> None:
    def around(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    assert why(f"http://{location(around)}/") == "it redirects in circles"


def test_the_library_s_own_words_only_where_there_are_no_better_ones() -> None:
    assert error_text.reason(ValueError("more than 64 MiB; this is no metadata"), 1, 1).startswith("more than")
    assert error_text.reason(ValueError(), 1, 1) == "ValueError"
