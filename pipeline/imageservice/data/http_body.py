"""Read a message's body as it comes from a connection, of a client or of a server we fetch from.

The kernel fills the caller's memory, what has come is handed out when the other side pauses, so that a slow one holds
no memory, and while it waits the reader looks for a reason to give up.
"""

from __future__ import annotations

import io
import socket
import ssl
import struct
import time
from typing import Any, Protocol

from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.data.chunks import LONGEST_LINE, Framing
from pipeline.imageservice.errors import ServiceError

_PAUSE = 0.02  # when the other side sends nothing for so long, its bytes move on before the block is full
_SCRATCH = 64 << 10
_USUAL_LINE = 32


class ReadAhead(Protocol):
    """What was read from the connection before the body began."""

    def take_buffered(self) -> bytes:
        """Take it."""

    def unread(self, data: bytes) -> None:
        """Put back what does not belong to the body."""


class HttpBody(io.RawIOBase):
    """A file, and a source for transfers.

    ``length``: of the body, ``None`` when it is chunked. ``idle``: seconds without a byte after which the other side is
    given up. Subclasses say what is raised when it is, or when it leaves.
    """

    def __init__(self, connection: socket.socket, ahead: ReadAhead, length: int | None, *, idle: float) -> None:
        super().__init__()
        self._socket, self._ahead, self._idle = connection, ahead, idle
        self.size = length
        self._left = length
        self._framing = Framing()
        self._received = b""  # of a chunked body, and not yet delivered

    def gone(self) -> ServiceError:
        """Return what is raised when the connection ends before the body does."""
        raise NotImplementedError

    def stalled(self) -> ServiceError:
        """Return what is raised when nothing comes for too long."""
        raise NotImplementedError

    @property
    def ended(self) -> bool:
        """Whether the last byte has been delivered."""
        return self._framing.finished if self._left is None else self._left == 0

    def readable(self) -> bool:
        """Return whether it can be read, as a file says."""
        return True

    def readinto(self, view: Any, cancel_token: CancelToken | None = None) -> int:
        """See ``Source.readinto``. Raises also ``Invalid`` for malformed chunks."""
        view = memoryview(view).cast("B")
        if self.ended or not view:
            return 0
        return (self._fill_chunked if self._left is None else self._fill_known)(view, cancel_token or CancelToken())

    def _fill_known(self, view: memoryview, cancel_token: CancelToken) -> int:
        view = view[: self._left]
        ahead = self._ahead.take_buffered()
        done = min(len(ahead), len(view))
        view[:done] = ahead[:done]
        if len(ahead) > done:
            self._ahead.unread(ahead[done:])
        elif done < len(view):
            done += self._receive(view[done:], cancel_token, have=done > 0)
        self._left = (self._left or 0) - done
        return done

    def _fill_chunked(self, view: memoryview, cancel_token: CancelToken) -> int:
        done = self._unframe(memoryview(self._received), view)
        while not self._framing.finished and (not done or len(view) - done >= _SCRATCH):
            # What is received lands in the caller's memory and is moved together there, unless that is too small.
            target = view[done:] if len(view) - done >= _SCRATCH else memoryview(bytearray(_SCRATCH))
            kept = len(self._received)
            target[:kept] = self._received
            count = self._more(target[kept:], cancel_token, have=done > 0)
            if not count:
                break
            done += self._unframe(target[: kept + count], view[done:])
        if self._framing.finished and self._received:
            self._ahead.unread(self._received)  # the next message
            self._received = b""
        return done

    def _more(self, target: memoryview, cancel_token: CancelToken, *, have: bool) -> int:
        ahead = self._ahead.take_buffered()
        if not ahead:
            return self._receive(target, cancel_token, have=have, whole=False)
        count = min(len(ahead), len(target))
        target[:count] = ahead[:count]
        if len(ahead) > count:
            self._ahead.unread(ahead[count:])
        return count

    def _unframe(self, received: memoryview, view: memoryview) -> int:
        """Move the chunks' data to the beginning of ``view``, which may be the same memory; how much that was.

        What does not fit, and a line that has not come whole, is kept for later.
        """
        framing, at, done = self._framing, 0, 0
        while at < len(received) and not framing.finished:
            if framing.left:
                count = min(framing.left, len(received) - at, len(view) - done)
                if not count:
                    break
                view[done : done + count] = received[at : at + count]
                framing.took(count)
                at, done = at + count, done + count
                continue
            line = _line(received[at:])
            if line is None:
                break
            framing.line(line)
            at += len(line) + 2
        self._received = bytes(received[at:])
        return done

    def _receive(self, view: memoryview, cancel_token: CancelToken, *, have: bool, whole: bool = True) -> int:
        """Bytes from the connection; ``whole``: as many as fit, as long as the other side keeps sending.

        With ``have``, 0 when nothing comes at once; otherwise waits for the first byte.
        """
        timeout = self._socket.gettimeout()
        receive = self._receive_tls if isinstance(self._socket, ssl.SSLSocket) else self._receive_plain
        until = time.monotonic() + self._idle
        try:
            while (count := receive(view, _PAUSE if have else CancelToken.CHECK_SECONDS, whole)) is None:
                if have:
                    return 0
                cancel_token.check()
                if time.monotonic() >= until:
                    raise self.stalled()
        except (ConnectionError, ssl.SSLError) as error:
            raise self.gone() from error
        finally:
            self._socket.settimeout(timeout)
        if not count:
            raise self.gone()
        return count

    def _receive_plain(self, view: memoryview, timeout: float, whole: bool) -> int | None:
        # The kernel waits until the block is full, or for as long as SO_RCVTIMEO says: one call for a block when the
        # other side is fast, and a partial block soon when it isn't. Python's own timeouts would make the socket
        # non-blocking, and each call return with a few kilobytes.
        self._socket.settimeout(None)
        _set_timeout(self._socket, timeout)
        try:
            return self._socket.recv_into(view, len(view), socket.MSG_WAITALL if whole else 0)
        except BlockingIOError:
            return None
        finally:
            _set_timeout(self._socket, 0)

    def _receive_tls(self, view: memoryview, timeout: float, whole: bool) -> int | None:
        """TLS delivers records of 16 KiB at the most: collect them."""
        done = 0
        while done < len(view):
            self._socket.settimeout(_PAUSE if done else timeout)
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


def _line(received: memoryview) -> bytes | None:
    """Return the next line of a body's framing without its end; ``None`` when it has not come whole."""
    for enough in (_USUAL_LINE, LONGEST_LINE + 2):
        head = bytes(received[:enough])
        end = head.find(b"\r\n")
        if end >= 0:
            return head[:end]
    # Longer than any line may be: the framing refuses it.
    return head if len(head) > LONGEST_LINE else None
