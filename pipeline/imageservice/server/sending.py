"""Send a file to a client without reading it: sendfile(2).

The server's own way sends what the file happens to hold by then, and waits for a stuck client for ever. This one
counts: a file that has become shorter breaks the connection, instead of making the next answer look like its end.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

from pipeline.imageservice.data.errors import ClientGone, ClientStalled
from pipeline.imageservice.stores.errors import StoreDamaged

_PIECE = 64 << 20
_ACKNOWLEDGED = struct.Struct("120xQ")  # tcpi_bytes_acked, in struct tcp_info of linux/tcp.h
_TIMEOUT = 5.0


class ClientWire:
    """A connection, as those see it who look after what goes over it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._before = 0
        self._before = self._acknowledged()

    def taken(self) -> int:
        """Return how many bytes the client has taken since this was made."""
        return self._acknowledged() - self._before

    def cut(self) -> None:
        """End the connection, also under a thread that waits for it."""
        with contextlib.suppress(OSError):
            # Not the method of a TLS socket: it would let another thread go on without encryption.
            socket.socket.shutdown(self._connection, socket.SHUT_RDWR)

    def _acknowledged(self) -> int:
        try:
            info = self._connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED.size)
        except OSError:  # it has ended
            return self._before
        return int(_ACKNOWLEDGED.unpack(info)[0]) if len(info) == _ACKNOWLEDGED.size else 0


class SentFile:
    """A response's body: ``length`` bytes of ``file`` from its present position.

    ``check`` is called now and then and may raise. ``done`` is called once with the number of bytes sent and what went
    wrong, if something did.
    """

    def __init__(
        self,
        connection: socket.socket,
        file: BinaryIO,
        length: int,
        *,
        idle: float,
        check: Callable[[], None],
        done: Callable[[int, BaseException | None], None],
    ) -> None:
        self._socket, self._file, self._length, self._idle = connection, file, length, idle
        self._check, self._done = check, done
        self._sent = 0
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        # An empty first piece makes the server send the headers; the rest goes past it.
        yield b""
        try:
            self._send()
        except Exception as error:
            self._error = error
            # The server takes this as the end of the connection, and says nothing of its own.
            raise ConnectionResetError(errno.ECONNRESET, str(error)) from error

    def close(self) -> None:
        """Close the file: the server calls this at the end, whatever happened."""
        self._done(self._sent, self._error)

    def _send(self) -> None:
        source = self._file.fileno()
        offset = os.lseek(source, 0, os.SEEK_CUR)
        timeout = self._socket.gettimeout()
        self._socket.settimeout(None)
        _set_timeout(self._socket, min(_TIMEOUT, self._idle))
        try:
            moved = time.monotonic()
            while self._sent < self._length:
                self._check()
                count = self._step(source, offset)
                if count:
                    moved = time.monotonic()
                    self._sent += count
                    offset += count
                elif time.monotonic() - moved >= self._idle:
                    raise ClientStalled(f"The client took no data for {self._idle:.0f} seconds")
        finally:
            _set_timeout(self._socket, 0)
            self._socket.settimeout(timeout)

    def _step(self, source: int, offset: int) -> int:
        try:
            count = os.sendfile(self._socket.fileno(), source, offset, min(_PIECE, self._length - self._sent))
        except BlockingIOError:
            return 0
        except ConnectionError as error:
            raise ClientGone("The client closed the connection in the middle of the data") from error
        if not count:
            raise StoreDamaged("The store holds less of this image than it should")
        return count


def _set_timeout(connection: socket.socket, seconds: float) -> None:
    micro = int(seconds * 1_000_000)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", *divmod(micro, 1_000_000)))
