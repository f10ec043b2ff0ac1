"""Read connections with patience: end when nobody waits any more, and pass over interim answers.

``urllib3`` and ``http.client`` read from one socket with one timeout for each call: a server that sends a byte before
each of them ends would hold us for ever, and a cancelled import would be noticed late. So what they read from is a file
of ours, that asks between two looks at the socket.
"""

from __future__ import annotations

import functools
import http.client
import io
import socket
import time
from collections.abc import Callable
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.wait import wait_for_read

from pipeline.imageservice.fetching.errors import FetchBroken, FetchStalled

_LOOK = 0.5  # seconds between two questions whether anybody still waits
_BUFFER = 256 << 10
_LONGEST_HEAD = 256 << 10  # bytes of all headers together, those of interim answers too
_MOST_INTERIM = 50


class Wire:
    """How one answer is read. ``idle``: seconds without a byte after which the server is given up.

    ``check`` is asked all the time, and raises what ends the work.
    """

    def __init__(self, idle: float, check: Callable[[], None]) -> None:
        self._idle, self._check = idle, check
        self._room: int | None = _LONGEST_HEAD
        self._socket: socket.socket | None = None

    def reading(self, connection: socket.socket) -> _Opened:
        """Return the socket as ``http.client`` wants to have it: something that makes a file."""
        self._socket = connection
        return _Opened(self, connection)

    def begin_body(self) -> None:
        """Note that the headers have come: what follows may be as long as it likes."""
        self._room = None

    def has_more(self, seconds: float) -> bool:
        """Return whether more comes within ``seconds``."""
        connection = self._socket
        if connection is None or connection.fileno() < 0:
            return False
        pending = getattr(connection, "pending", None)  # of TLS: decrypted, and not in the kernel any more
        return bool(pending and pending()) or wait_for_read(connection, seconds)

    def receive(self, connection: socket.socket, view: memoryview) -> int:
        """Return some bytes; 0 at the connection's end. Raises ``FetchStalled``, ``FetchBroken``, what ``check``
        raises.
        """
        until = time.monotonic() + self._idle
        while True:
            self._check()
            connection.settimeout(max(0.001, min(_LOOK, until - time.monotonic())))
            try:
                count = connection.recv_into(view)
            except TimeoutError:
                if time.monotonic() >= until:
                    raise FetchStalled(f"The source has sent nothing for {self._idle:.0f} seconds") from None
                continue
            if self._room is not None:
                if not count:  # ``http.client`` takes it for the headers' end
                    raise FetchBroken("The source broke the connection off before it answered")
                self._room -= count
                if self._room < 0:
                    raise FetchBroken(f"The source sends more than {_LONGEST_HEAD >> 10} KiB of headers")
            return count


class _Opened:
    """A socket as far as ``http.client`` reads from it."""

    def __init__(self, wire: Wire, connection: socket.socket) -> None:
        self._wire, self._connection = wire, connection

    def makefile(self, mode: str) -> io.BufferedReader:
        """See ``socket.makefile``."""
        return io.BufferedReader(_File(self._wire, self._connection), _BUFFER)


class _File(io.RawIOBase):
    def __init__(self, wire: Wire, connection: socket.socket) -> None:
        super().__init__()
        self._wire, self._connection = wire, connection
        # The connection closes its socket as soon as the headers say that it is the last answer; this keeps it open.
        self._keeper = connection.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, view: Any) -> int:
        return self._wire.receive(self._connection, memoryview(view).cast("B"))

    def close(self) -> None:
        self._keeper.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer that passes over interim ones, such as 103 Early Hints, which ``http.client`` takes for the last."""

    def __init__(self, connection: Any, *arguments: Any, wire: Wire, **options: Any) -> None:
        super().__init__(wire.reading(connection), *arguments, **options)  # type: ignore[arg-type]
        self._wire = wire

    def begin(self) -> None:
        super().begin()
        for _ in range(_MOST_INTERIM):
            if not 100 <= self.status < 200 or self.status == http.client.SWITCHING_PROTOCOLS:
                self._wire.begin_body()
                return
            self.headers = self.msg = None  # type: ignore[assignment]  # without, ``begin`` has nothing to do
            super().begin()
        raise http.client.HTTPException("it sends interim answers only")


class PlainConnection(HTTPConnection):
    """A connection that is read through ``wire``."""

    def __init__(self, *arguments: Any, wire: Wire, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.response_class = functools.partial(_Answer, wire=wire)  # type: ignore[assignment]


class TlsConnection(HTTPSConnection):
    """The same, encrypted."""

    def __init__(self, *arguments: Any, wire: Wire, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.response_class = functools.partial(_Answer, wire=wire)  # type: ignore[assignment]
