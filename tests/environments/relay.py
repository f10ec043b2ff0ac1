"""A TCP relay in front of a server, which a test makes slow, silent or dead at will."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

_CHUNK = 64 << 10
_REQUEST = re.compile(rb"[A-Z]+ \S+ HTTP/1\.1")


class Relay:
    """Passes bytes on to ``target``. ``rate``: the most bytes a second and direction of each connection."""

    def __init__(self, target: str, rate: float | None = None) -> None:
        server = urlsplit(target)
        self._target = (server.hostname or "", server.port or 80)
        self._rate = rate
        self._lock = threading.Condition()
        self._sockets: set[socket.socket] = set()
        self._silent = False
        self._dead = False
        self._passed = 0
        self._asked: list[bytes] = []
        self._cut_after: int | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where clients connect to."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def passed(self) -> int:
        """Bytes passed on so far, in both directions."""
        return self._passed

    @property
    def asked(self) -> list[bytes]:
        """The first line of each HTTP request so far, also of those that were not passed on."""
        return list(self._asked)

    def die(self, *, after: int = 0) -> None:
        """Break every connection and refuse new ones, as soon as ``after`` more bytes have passed."""
        with self._lock:
            self._cut_after = self._passed + after
        if after == 0:
            self._cut()

    def fall_silent(self) -> None:
        """Pass nothing on any more; connections stay open."""
        self._silent = True

    def mend(self) -> None:
        """Work again."""
        with self._lock:
            self._silent = self._dead = False
            self._cut_after = None
            self._lock.notify_all()

    def close(self) -> None:
        """The end."""
        self._cut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._dead:
                _reset(client)
                continue
            try:
                server = socket.create_connection(self._target)
            except OSError:
                _reset(client)
                continue
            with self._lock:
                self._sockets |= {client, server}
            for source, sink, asks in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=(source, sink, asks), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, asks: bool) -> None:
        begun, sent = time.monotonic(), 0
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                if asks and (line := _REQUEST.match(data)):
                    self._asked.append(line[0])
                self._wait_while_silent()
                sink.sendall(data)
                sent += len(data)
                self._count(len(data))
                if self._rate is not None:
                    time.sleep(max(0.0, begun + sent / self._rate - time.monotonic()))
            sink.shutdown(socket.SHUT_WR)
            return
        for one in (source, sink):
            one.close()

    def _wait_while_silent(self) -> None:
        with self._lock:
            while self._silent:
                self._lock.wait(0.1)

    def _count(self, count: int) -> None:
        with self._lock:
            self._passed += count
            due = self._cut_after is not None and self._passed >= self._cut_after
        if due:
            self._cut()

    def _cut(self) -> None:
        with self._lock:
            self._dead = True
            sockets, self._sockets = self._sockets, set()
        for one in sockets:
            _reset(one)


def _reset(connection: socket.socket) -> None:
    """Close so that the other side sees a broken connection instead of an end."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextlib.contextmanager
def relay(target: str, rate: float | None = None) -> Iterator[Relay]:
    """A relay to the server at the URL ``target`` while the block runs."""
    made = Relay(target, rate)
    try:
        yield made
    finally:
        made.close()
