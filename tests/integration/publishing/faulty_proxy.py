"""A reverse proxy on loopback that does to requests what networks, services and operators do."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_BLOCK = 64 << 10
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "host"}


class Fault(StrEnum):
    """What happens to one request."""

    NONE = "none"
    REFUSED = "refused"  # never arrives
    LOST_ANSWER = "lost answer"  # takes effect; the client never hears of it
    UNAUTHORIZED = "401"
    CONFLICT = "409"
    THROTTLED = "429"
    TROUBLE = "500"
    OVERLOADED = "503"
    TROUBLE_AFTERWARDS = "500 after success"
    CUT_REQUEST = "cut in the request"  # half of the body arrives, then the connection breaks
    CUT_ANSWER = "cut in the answer"
    KILLED_BEFORE = "killed before"  # the client dies before the request arrives
    KILLED_AFTER = "killed after"  # the client dies when the request has taken effect

    @property
    def is_answer(self) -> bool:
        """Whether it is a status that is answered instead of passing the request on."""
        return self.isdecimal()

    @property
    def kills(self) -> bool:
        """Whether the client is dead afterwards."""
        return self in (Fault.KILLED_BEFORE, Fault.KILLED_AFTER)

    @property
    def arrives(self) -> bool:
        """Whether the service sees the whole request."""
        return self in (
            Fault.NONE,
            Fault.LOST_ANSWER,
            Fault.TROUBLE_AFTERWARDS,
            Fault.CUT_ANSWER,
            Fault.KILLED_AFTER,
        )


@dataclass
class FaultyProxy:
    """``upstream`` is a URL. ``choose`` is asked for the fault of each request; ``watch`` is called around each.
    ``kill`` ends the process whose requests these are; only a ``deadly`` proxy does. ``retry_after`` stands in answers
    that tell of overload. ``keeps_back``: names of headers, in lower case, that no answer has any more.
    """

    upstream: str
    choose: Callable[[str, str], Fault] = lambda method, path: Fault.NONE
    watch: Callable[[], None] = lambda: None
    deadly: bool = False
    kill: Callable[[], None] = lambda: None
    dead: bool = False
    retry_after: str = "0"
    keeps_back: frozenset[str] = frozenset()
    log: list[str] = field(default_factory=list)
    url: str = ""
    failures: list[AssertionError] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def running(self) -> Iterator[FaultyProxy]:
        """The proxy while the block runs. At its end, what ``watch`` found wrong first is raised."""
        proxy = self

        class Handler(_Handler):
            owner = proxy

        server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
        if self.failures:
            raise AssertionError(f"{self.failures[0]} (after {self.log})")

    def look(self) -> None:
        """Let ``watch`` look; in a handler's thread its complaint would get lost."""
        try:
            self.watch()
        except AssertionError as error:
            self.failures.append(error)

    def fault(self, method: str, path: str) -> Fault:
        """What happens to the next request."""
        with self._lock:
            if self.dead:
                return Fault.REFUSED
            chosen = self.choose(method, path)
            self.log.append(f"{method} {path}: {chosen}")
            return chosen


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are gone are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: FaultyProxy

    def _serve(self) -> None:
        owner = self.owner
        fault = owner.fault(self.command, self.path)
        owner.look()
        if fault.is_answer:
            self._drain()
            self._answer(int(fault), b"injected")
        elif fault is Fault.CUT_REQUEST:
            self._cut_request()
            self._break()
        elif not fault.arrives:
            self._break(fault)
        else:
            self._pass_on(fault)
        owner.look()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _pass_on(self, fault: Fault) -> None:
        location = urlsplit(self.owner.upstream)
        connection = http.client.HTTPConnection(location.hostname or "", location.port, timeout=60)
        try:
            connection.request(self.command, self.path, body=self._body(), headers=self._headers())
            answer = connection.getresponse()
            if fault in (Fault.LOST_ANSWER, Fault.KILLED_AFTER):
                answer.read()
                self._break(fault)
            elif fault is Fault.TROUBLE_AFTERWARDS:
                answer.read()
                self._answer(500, b"injected")
            else:
                self._relay(answer, cut=fault is Fault.CUT_ANSWER)
        except (OSError, http.client.HTTPException):
            self._break()
        finally:
            connection.close()

    def _relay(self, answer: http.client.HTTPResponse, *, cut: bool) -> None:
        self.send_response(answer.status)
        length = answer.length
        for name, value in answer.getheaders():
            if name.lower() not in _HOP_BY_HOP | self.owner.keeps_back:
                self.send_header(name, value)
        if length is None:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        limit = (length or 0) // 2 if cut else None
        sent = 0
        while block := answer.read(_BLOCK if limit is None else max(0, min(_BLOCK, limit - sent))):
            self.wfile.write(block)
            sent += len(block)
        if cut:
            self._break()

    def _body(self) -> Any:
        length = int(self.headers.get("Content-Length") or 0)
        return self._blocks(length) if length else None

    def _blocks(self, length: int) -> Iterator[bytes]:
        while length > 0:
            block = self.rfile.read(min(_BLOCK, length))
            if not block:
                raise OSError("the client broke off")
            length -= len(block)
            yield block

    def _headers(self) -> dict[str, str]:
        return {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}

    def _cut_request(self) -> None:
        """Let the service see half of what was announced, then nothing."""
        length = int(self.headers.get("Content-Length") or 0)
        location = urlsplit(self.owner.upstream)
        with socket.create_connection((location.hostname or "", location.port or 80), timeout=60) as upstream:
            lines = [f"{self.command} {self.path} HTTP/1.1", f"Host: {location.netloc}"]
            lines += [f"{name}: {value}" for name, value in self._headers().items()]
            upstream.sendall("\r\n".join([*lines, "", ""]).encode())
            for block in self._blocks(length // 2):
                upstream.sendall(block)

    def _drain(self) -> None:
        for _ in self._blocks(int(self.headers.get("Content-Length") or 0)):
            pass

    def _answer(self, status: int, text: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Content-Type", "text/plain")
        if status in (429, 503):
            self.send_header("Retry-After", self.owner.retry_after)
        self.end_headers()
        self.wfile.write(text)

    def _break(self, fault: Fault = Fault.NONE) -> None:
        if fault.kills:
            self.owner.dead = True
            self.owner.kill()
        self.close_connection = True
        with contextlib.suppress(OSError):
            # RST instead of FIN: the client sees a broken connection, not an empty answer.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
