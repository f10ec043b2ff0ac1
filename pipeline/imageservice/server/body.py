"""A request's body as it comes from the connection.

gunicorn's own reader copies each block several times and blocks until it is full. This one lets the kernel fill the
caller's memory, hands out what has come when the client pauses, so that a slow client holds no memory, and looks for a
reason to give up while it waits. It asks the client to go on (``100 Continue``) only when the first byte is wanted: a
request that is refused costs the client nothing.
"""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
import struct
import time
from collections.abc import Callable
from typing import Any

from gunicorn.http.unreader import Unreader

from pipeline.imageservice.data.control import Control
from pipeline.imageservice.data.errors import ClientGone, ClientStalled
from pipeline.imageservice.server.chunks import LONGEST_LINE, Framing

_PAUSE = 0.02  # when a client sends nothing for so long, its bytes move on before the block is full
_SCRATCH = 64 << 10


class RequestBody(io.RawIOBase):
    """``wsgi.input``, and a source for transfers.

    ``length``: of the body, ``None`` when it is chunked. ``unreader`` holds what came together with the header.
    ``idle``: seconds without a byte after which the client is given up. ``unfinished`` is called by ``settle`` when an
    answer goes out while the client still sends: the connection has to be closed after it.
    """

    def __init__(
        self,
        connection: socket.socket,
        unreader: Unreader,
        length: int | None,
        *,
        expects_continue: bool = False,
        idle: float = 60,
        unfinished: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self._unfinished = unfinished
        self._socket, self._unreader, self._idle = connection, unreader, idle
        self.size = length
        self._left = length
        self._framing = Framing()
        self._scratch = memoryview(b"")  # received and not yet delivered, of a chunked body
        self._ask = expects_continue
        self._broken = False

    @property
    def ended(self) -> bool:
        """Whether the last byte has been delivered."""
        return self._framing.finished if self._left is None else self._left == 0

    @property
    def failed(self) -> bool:
        """Whether the connection can't be used for another request; gunicorn asks before it drains a body."""
        return self._broken or (self._ask and not self.ended)

    def settle(self) -> None:
        """An answer begins: drop the rest of a short body that has come already, or give the connection up."""
        if self.ended:
            return
        if not self._ask and not self._broken and self._left is not None and self._left <= _SCRATCH:
            self._left -= min(self._left, self._waiting_bytes())
        if not self.ended:
            self._broken = True
            self._unfinished()

    def readable(self) -> bool:
        """As a file's."""
        return True

    def readinto(self, view: Any, control: Control | None = None) -> int:
        """See ``Source.readinto``. Raises ``ClientGone``, ``ClientStalled``, ``Invalid`` for malformed chunks."""
        view = memoryview(view).cast("B")
        if self.ended or not view:
            return 0
        if self._ask:
            self._ask = False
            self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            return (self._fill_chunked if self._left is None else self._fill_known)(view, control or Control())
        except BaseException:
            self._broken = True
            raise

    def _waiting_bytes(self) -> int:
        """Take what has come of a body that is to be dropped; how much that was."""
        if isinstance(self._socket, ssl.SSLSocket):
            return 0
        dropped = memoryview(bytearray(self._left or 0))
        ahead = self._unreader.take_buffered()
        self._unreader.unread(ahead[len(dropped) :])
        count = min(len(ahead), len(dropped))
        if count < len(dropped):
            with contextlib.suppress(OSError):
                count += self._socket.recv_into(dropped[count:], 0, socket.MSG_DONTWAIT)
        return count

    def _fill_known(self, view: memoryview, control: Control) -> int:
        view = view[: self._left]
        ahead = self._unreader.take_buffered()
        done = min(len(ahead), len(view))
        view[:done] = ahead[:done]
        if len(ahead) > done:
            self._unreader.unread(ahead[done:])
        elif done < len(view):
            done += self._receive(view[done:], control, have=done > 0)
        self._left = (self._left or 0) - done
        return done

    def _fill_chunked(self, view: memoryview, control: Control) -> int:
        done = 0
        while done < len(view) and not self._framing.finished:
            if self._framing.left:
                part = view[done : done + self._framing.left]
                count = self._data(part, control, have=done > 0)
                if not count:
                    break
                done += count
                self._framing.took(count)
                continue
            line = self._line(control, have=done > 0)
            if line is None:
                break
            self._framing.line(line)
        if self._framing.finished and self._scratch:
            self._unreader.unread(bytes(self._scratch))  # the next request
            self._scratch = memoryview(b"")
        return done

    def _data(self, view: memoryview, control: Control, *, have: bool) -> int:
        if not self._scratch:
            if len(view) >= _SCRATCH:
                return self._receive(view, control, have=have)
            if not self._more(control, have=have):
                return 0
        count = min(len(view), len(self._scratch))
        view[:count] = self._scratch[:count]
        self._scratch = self._scratch[count:]
        return count

    def _line(self, control: Control, *, have: bool) -> bytes | None:
        """The next line of the framing; ``None`` when it has not come yet and the caller ``have``s something to do."""
        while True:
            end = bytes(self._scratch[: LONGEST_LINE + 2]).find(b"\r\n")
            if end >= 0:
                line = bytes(self._scratch[:end])
                self._scratch = self._scratch[end + 2 :]
                return line
            if len(self._scratch) > LONGEST_LINE:
                return bytes(self._scratch[: LONGEST_LINE + 2])  # not a line: the framing refuses it
            if not self._more(control, have=have):
                return None

    def _more(self, control: Control, *, have: bool) -> bool:
        data = self._unreader.take_buffered()
        if not data:
            fresh = bytearray(_SCRATCH)
            count = self._receive(memoryview(fresh), control, have=have, whole=False)
            data = bytes(memoryview(fresh)[:count])
        self._scratch = memoryview(bytes(self._scratch) + data)
        return bool(data)

    def _receive(self, view: memoryview, control: Control, *, have: bool, whole: bool = True) -> int:
        """Bytes from the connection: ``whole``: as many as fit, as long as the client keeps sending.

        With ``have``, 0 when nothing comes at once; otherwise waits for the first byte.
        """
        timeout = self._socket.gettimeout()
        receive = self._receive_tls if isinstance(self._socket, ssl.SSLSocket) else self._receive_plain
        until = time.monotonic() + self._idle
        try:
            while (count := receive(view, _PAUSE if have else Control.PATIENCE, whole)) is None:
                if have:
                    return 0
                control.check()
                if time.monotonic() >= until:
                    raise ClientStalled(f"No data came for {self._idle:.0f} seconds")
        except (ConnectionError, ssl.SSLError) as error:
            raise _gone() from error
        finally:
            self._socket.settimeout(timeout)
        if not count:
            raise _gone()
        return count

    def _receive_plain(self, view: memoryview, patience: float, whole: bool) -> int | None:
        # The kernel waits until the block is full, or for as long as SO_RCVTIMEO says: one call for a block when the
        # client is fast, and a partial block soon when it isn't. Python's own timeouts would make the socket
        # non-blocking, and each call return with a few kilobytes.
        self._socket.settimeout(None)
        _set_timeout(self._socket, patience)
        try:
            return self._socket.recv_into(view, len(view), socket.MSG_WAITALL if whole else 0)
        except BlockingIOError:
            return None
        finally:
            _set_timeout(self._socket, 0)

    def _receive_tls(self, view: memoryview, patience: float, whole: bool) -> int | None:
        """TLS delivers records of 16 KiB at the most: collect them."""
        done = 0
        while done < len(view):
            self._socket.settimeout(_PAUSE if done else patience)
            try:
                count = self._socket.recv_into(view[done:])
            except TimeoutError:
                return done or None
            if not count:
                return done
            done += count
            if not whole:
                break
        return done


def _set_timeout(connection: socket.socket, seconds: float) -> None:
    micro = int(seconds * 1_000_000)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", *divmod(micro, 1_000_000)))


def _gone() -> ClientGone:
    return ClientGone("The client closed the connection in the middle of the data")
