"""Run the plain application in a server of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.home import CHECKOUT
from tests.environments.daemon import daemon, free_port

OPTIONS = {"processes": 1, "idle_timeout": 1.5, "header_timeout": 2, "stop_timeout": 5, "transfer_threads": 24}
MIB = 1 << 20


@dataclass
class Server:
    port: int
    folder: Path
    child: subprocess.Popen[bytes]
    log: Path

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def http(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def greets(self, count: int = 3) -> bool:
        """Whether small requests, each on a new connection, are answered."""
        for _ in range(count):
            client = self.http()
            client.request("GET", "/hello")
            assert client.getresponse().read() == b"hello"
            client.close()
        return True


@contextlib.contextmanager
def serve(folder: Path, **more: object) -> Iterator[Server]:
    port, log = free_port(), folder / "log"
    words = [sys.executable, "-m", "tests.integration.imageservice.server.plain_app", str(port)]
    options = json.dumps({**OPTIONS, **more})
    with daemon([*words, options, folder], ready=lambda: answers(port), log=log, cwd=CHECKOUT) as child:
        yield Server(port, folder, child, log)


def answers(port: int) -> bool:
    """Whether the server not only listens, but has a process that answers (HTTPS: takes connections)."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            client.recv(100)
        return True
    return False


def receive(client: socket.socket) -> bytes:
    """Everything until the server closes."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(65536):
            data += piece
    return data


def upload_header(length: int | None, *lines: str, path: str = "/v2/images/x/file") -> bytes:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return "\r\n".join([f"PUT {path} HTTP/1.1", "Host: x", framing, *lines, "", ""]).encode()
