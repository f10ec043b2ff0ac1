"""Close connections so that clients get to read the last answer.

Most clients read an answer only after their last byte. One that is refused in the middle of its data would meet a
reset instead of the reason, and over TLS an error of the protocol. So the answer ends with TLS's close_notify and a
half-closed connection, and what the client still sends is thrown away as it came, undeciphered, while it keeps coming.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn

TIMEOUT = 5.0  # seconds that a client gets, and gets again for so many bytes:
LEAST = 64 << 10
LONGEST = 1 << 40  # bytes of one connection at the most: more than any image has
_PIECE = 1 << 20


class GracefulConnection(TConn):  # type: ignore[misc]
    """Sends close_notify before it is closed: TLS tells the end of an answer from one that was cut off."""

    def close(self, graceful: bool = False) -> None:
        """See gunicorn. Never waits for the client."""
        with contextlib.suppress(OSError, ValueError):
            send_close_notify(self.sock)
        super().close()


def send_close_notify(connection: socket.socket) -> None:
    """Send TLS's ``close_notify`` on a connection that has TLS and has not sent it yet; without waiting.

    Raises ``ssl.SSLWantWriteError`` where the client first has to take what was sent before.
    """
    if not isinstance(connection, ssl.SSLSocket) or connection._sslobj is None:  # type: ignore[attr-defined]
        return
    connection.setblocking(False)
    try:
        connection.unwrap()
    except ssl.SSLWantWriteError:
        raise
    except (OSError, ValueError):
        pass  # it is sent; what fails is to read the client's own, behind its data


@dataclass
class _Lingering:
    """A connection until it is closed: at the moment ``until``, unless ``fresh`` bytes more come before."""

    until: float
    fresh: int = LEAST
    left: int = LONGEST


class LingeringClose:
    """The connections whose last answer has gone out. Used by the event loop's thread only.

    ``drop`` closes one. No more than ``room`` of them get more time than the first ``TIMEOUT``.
    """

    def __init__(self, poller: selectors.BaseSelector, drop: Callable[[Any], None], room: int) -> None:
        self._poller, self._drop, self._room = poller, drop, room
        self._lingering: dict[Any, _Lingering] = {}
        self._nowhere = bytearray(_PIECE)

    def begin(self, conn: Any) -> None:
        """Let the client of this connection read its answer, then close it."""
        try:
            conn.sock.setblocking(False)
            self._poller.register(conn.sock, selectors.EVENT_WRITE, partial(self._on_writable, conn))
        except (OSError, ValueError, KeyError):
            self._drop(conn)
            return
        self._lingering[conn] = _Lingering(time.monotonic() + TIMEOUT)
        self._on_writable(conn, conn.sock)

    def expire(self, *, stopping: bool) -> None:
        """Close the connections of clients that have had their time; ``stopping``: nobody gets more."""
        now = time.monotonic()
        for conn, lingering in list(self._lingering.items()):
            if lingering.until > now:
                continue
            if stopping or lingering.fresh > 0 or len(self._lingering) > self._room:
                self._end(conn)
            else:
                lingering.until, lingering.fresh = now + TIMEOUT, LEAST

    def _on_writable(self, conn: Any, _socket: Any) -> None:
        try:
            send_close_notify(conn.sock)
            conn.sock.shutdown(socket.SHUT_WR)
        except ssl.SSLWantWriteError:
            return
        except (OSError, ValueError):
            self._end(conn)
            return
        self._poller.modify(conn.sock, selectors.EVENT_READ, partial(self._on_leftovers, conn))
        self._on_leftovers(conn, conn.sock)

    def _on_leftovers(self, conn: Any, _socket: Any) -> None:
        lingering = self._lingering[conn]
        try:
            # Past TLS, and without a copy: the kernel drops them.
            count = socket.socket.recv_into(conn.sock, self._nowhere, _PIECE, socket.MSG_TRUNC)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        lingering.fresh -= count
        lingering.left -= count
        if not count or lingering.left <= 0:
            self._end(conn)

    def _end(self, conn: Any) -> None:
        del self._lingering[conn]
        with contextlib.suppress(KeyError, ValueError):
            self._poller.unregister(conn.sock)
        self._drop(conn)
