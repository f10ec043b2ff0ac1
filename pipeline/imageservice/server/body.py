"""Read a request's body, as ``wsgi.input`` and as a source for transfers.

It asks the client to go on (``100 Continue``) only when the first byte is wanted: a request that is refused costs the
client nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.data.errors import ClientGone, ClientStalled
from pipeline.imageservice.data.http_body import HttpBody, ReadAhead

_SHORT = 64 << 10


class RequestBody(HttpBody):
    """See ``HttpBody``.

    ``unfinished`` is called by ``settle`` when an answer goes out while the client still sends: the connection has to
    be closed after it. ``is_slow``: it may keep whoever reads it waiting.
    """

    def __init__(
        self,
        connection: socket.socket,
        ahead: ReadAhead,
        length: int | None,
        *,
        expects_continue: bool = False,
        idle: float = 60,
        unfinished: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(connection, ahead, length, idle=idle)
        self._unfinished = unfinished
        self._ask = expects_continue
        self._broken = False
        self.is_slow = True

    def gone(self) -> ClientGone:
        """See ``HttpBody``."""
        return ClientGone("The client closed the connection in the middle of the data")

    def stalled(self) -> ClientStalled:
        """See ``HttpBody``."""
        return ClientStalled(f"No data came for {self._idle:.0f} seconds")

    @property
    def failed(self) -> bool:
        """Whether the connection can't be used for another request; gunicorn asks before it drains a body."""
        return self._broken or (self._ask and not self.ended)

    def settle(self) -> None:
        """Drop the rest of a short body that has come already, or give the connection up: an answer begins."""
        if self.ended:
            return
        if not self._ask and not self._broken and self._left is not None and self._left <= _SHORT:
            self._left -= min(self._left, self._drop())
        if not self.ended:
            self._broken = True
            self._unfinished()

    def readinto(self, view: Any, cancel_token: CancelToken | None = None) -> int:
        """See ``HttpBody``. Raises ``ClientGone``, ``ClientStalled``, ``Invalid`` for malformed chunks."""
        if self._ask and not self.ended:
            self._ask = False
            self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            return super().readinto(view, cancel_token)
        except BaseException:
            self._broken = True
            raise

    def _drop(self) -> int:
        """Take what has come of a body that nobody wants; how much that was."""
        dropped = memoryview(bytearray(self._left or 0))
        ahead = self._ahead.take_buffered()
        self._ahead.unread(ahead[len(dropped) :])
        count = min(len(ahead), len(dropped))
        timeout = self._socket.gettimeout()
        self._socket.settimeout(0)
        try:
            # TLS delivers records one by one.
            while count < len(dropped) and (more := self._socket.recv_into(dropped[count:])):
                count += more
        except OSError:
            pass  # that was all, for now or for ever
        finally:
            self._socket.settimeout(timeout)
        return count
