"""Peek at a request: what an event loop can tell of it before it spends a thread on it."""

from __future__ import annotations

import errno
import re
import socket
from typing import Any
from urllib.parse import unquote

from gunicorn.http.body import LengthReader

from pipeline.imageservice.data.slots.turns import LONG_BODY

_METADATA = "X-IMAGE-META-"
PEEK = 64 << 10  # a request up to here is complete before it costs a thread
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*\r\n", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect:", re.IGNORECASE)
# A patch that names one of these looks at data in a store; so may one whose letters are escaped.
_LOOKED_AT = re.compile(rb"locations|img_signature|\\u")
_PATCH = re.compile(r"(/[^/]+)?/images/[^/]+")
_IMAGE_DATA = re.compile(r"(GET|PUT) (/[^/]+)?/images/[^/]+/(file|stage)|(GET|PUT|POST) /v1[^/]*/images(/[^/]+)?")
# Requests that move image data or wait for a store. The version may be told by the header Accept alone.
_BULK = re.compile(
    r"(GET|PUT|POST) (/[^/]+)?/images/[^/]+/(file|stage|import|locations)"
    r"|DELETE (/[^/]+)?/(images/[^/]+|stores/.*)"
    r"|[A-Z]+ /v1[^/]*/.*"
)


class TimedSocket:
    """A socket whose ``recv`` has a time limit of its own, whatever mode the socket is in otherwise."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._socket, self._seconds = connection, seconds

    def recv(self, size: int) -> bytes:
        """Receive as a socket does; a client that takes too long counts as gone."""
        self._socket.settimeout(self._seconds)
        try:
            return self._socket.recv(size)
        except TimeoutError as error:
            raise ConnectionResetError(errno.ECONNRESET, "the client sends no request") from error


def wake_at(connection: socket.socket, size: int) -> bool:
    """Let the event loop wake up for ``size`` bytes; whether that can be had."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
    except OSError:
        return False
    return True


def peek(connection: socket.socket) -> bytes | None:
    """Return what has come and was not read yet; ``None`` when nothing has, no bytes when the connection has ended."""
    try:
        return connection.recv(PEEK, socket.MSG_PEEK)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def missing_bytes(head: bytes) -> int:
    """Return how many bytes at least have to come before the request is worth a thread."""
    if not head or len(head) >= PEEK:
        return 0
    end = head.find(b"\r\n\r\n")
    if end < 0:
        return 1
    length = _LENGTH.search(head, 0, end + 2)
    if length is None or _EXPECT.search(head, 0, end + 2):
        return 0
    whole = end + 4 + int(length[1])
    return max(0, whole - len(head)) if whole <= PEEK else 0


def unambiguous(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers without those that the environment could not tell from another one, spelt with ``-``.

    Only the metadata of the API's first version have an underscore in their names by right.
    """
    return [(name, value) for name, value in headers if "_" not in name or name.startswith(_METADATA)]


def is_bulk(req: Any) -> bool:
    """Return whether a request moves image data, carries a long body or waits for a store."""
    reader = req.body.reader
    if not isinstance(reader, LengthReader) or reader.length > LONG_BODY:
        return True
    return _BULK.fullmatch(_asked(req)) is not None


def is_image_data(req: Any) -> bool:
    """Return whether a request brings or fetches the data of an image."""
    return _IMAGE_DATA.fullmatch(_asked(req)) is not None


def waits_for_store(req: Any, ahead: Any) -> bool:
    """Return whether a request that has come whole is a patch for which a store is asked. ``ahead``: its body."""
    reader = req.body.reader
    if req.method != "PATCH" or not isinstance(reader, LengthReader) or not _PATCH.fullmatch(unquote(req.path)):
        return False
    body = b""
    while len(body) < reader.length and (piece := ahead.read(reader.length - len(body))):
        body += piece
    ahead.unread(body)
    return _LOOKED_AT.search(body) is not None


def _asked(req: Any) -> str:
    """Return the method and the path as the application will see it: ``%66ile`` is a file, too."""
    return f"{req.method} {unquote(req.path)}"
