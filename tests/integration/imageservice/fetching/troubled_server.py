"""A web server with one trouble for each path, written to the socket byte by byte: no library would send some of it."""

from __future__ import annotations

import contextlib
import gzip
import re
import socket
import socketserver
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from tests.integration.imageservice.server.plain_app import pattern

DATA = pattern((1 << 20) + 5)
CHANGED = bytes(each ^ 0x55 for each in DATA)
CODED = gzip.compress(DATA, mtime=0)
HALF = len(DATA) // 2


@dataclass
class Asked:
    """One request: how many there were for this path before it, and what it wants."""

    number: int
    offset: int | None
    if_range: str | None


@dataclass
class Reply:
    """What to send. ``cut``: only so many bytes of the body; ``then``: what becomes of the connection afterwards."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = DATA
    tag: str | None = '"one"'
    cut: int | None = None
    then: str = "close"
    before: bytes = b""
    chunked: bool = False
    trailers: bytes = b""
    length: bool = True
    raw: bytes | None = None
    heeds_if_range: bool = True
    shift: int = 0  # of the part that is sent instead of the one that was asked for


Trouble = Callable[[Asked, "TroubledServer"], Reply]


class TroubledServer(socketserver.ThreadingTCPServer):
    """``ranges``: whether it sends parts."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, trouble: Trouble, *, ranges: bool, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.trouble, self.ranges = trouble, ranges
        self.asked: Counter[str] = Counter()
        self.dead_port = _closed_port()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


class _Handler(socketserver.BaseRequestHandler):
    server: TroubledServer

    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (piece := self.request.recv(65536)):
                return
            head += piece
        text = head.decode("latin-1")
        path = text.split(" ", 2)[1]
        wanted = re.search(r"\r\nRange: bytes=(\d+)-\r\n", text)
        condition = re.search(r"\r\nIf-Range: ([^\r]*)\r\n", text)
        asked = Asked(self.server.asked[path], int(wanted[1]) if wanted else None, condition[1] if condition else None)
        self.server.asked[path] += 1
        reply = self.server.trouble(asked, self.server) if path.startswith("/x.img") else Reply()
        with contextlib.suppress(OSError):
            self._send(reply, asked)
        if reply.then == "reset":
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if reply.then == "stall":
            with contextlib.suppress(OSError):
                self.request.recv(1)  # until the other side has enough of it

    def _send(self, reply: Reply, asked: Asked) -> None:
        if reply.raw is not None:
            self.request.sendall(reply.raw)
            return
        status, body, headers = reply.status, reply.body, dict(reply.headers)
        if reply.tag is not None:
            headers["ETag"] = reply.tag
        heeded = not reply.heeds_if_range or asked.if_range in (None, reply.tag)
        if self.server.ranges and status == 200 and asked.offset is not None and heeded:
            begin = asked.offset + reply.shift
            headers["Content-Range"] = f"bytes {begin}-{len(body) - 1}/{len(body)}"
            status, body = 206, body[begin:]
        if self.server.ranges:
            headers["Accept-Ranges"] = "bytes"
        if reply.chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif reply.length:
            headers["Content-Length"] = str(len(body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.request.sendall(reply.before + f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode())
        body = body[: reply.cut]
        for start in range(0, len(body), 100_000):
            piece = body[start : start + 100_000]
            self.request.sendall(b"%x;extension=1\r\n%s\r\n" % (len(piece), piece) if reply.chunked else piece)
        if reply.chunked and reply.cut is None:
            self.request.sendall(b"0\r\n" + reply.trailers + b"\r\n")


@contextlib.contextmanager
def troubled(trouble: Trouble, *, ranges: bool) -> Iterator[TroubledServer]:
    """The server, for as long as the block runs."""
    with TroubledServer(trouble, ranges=ranges) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def in_a_second() -> str:
    """A date for ``Retry-After``."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
