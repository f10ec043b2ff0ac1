"""Serve a file to a cloud's image service from this machine for a while, at an address that nobody guesses.

The service may ask for the rest of it when a connection breaks: the file's digest vouches for its state.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

_STEP = 16 << 20
_RANGE = re.compile(r"bytes=(\d{1,18})-")
_IDLE_SECONDS = 60


@contextlib.contextmanager
def serve_file(path: Path, digest: str, cloud: str) -> Iterator[str]:
    """Serve ``path`` while the block runs; yields its URL.

    ``digest`` names what is in it. ``cloud`` is the URL of the service that is to fetch it, by which this machine's own
    address on the way there is found.
    """
    server = _FileServer(_address_towards(cloud), path, digest)
    threading.Thread(target=server.serve_forever, name="file server", daemon=True).start()
    try:
        yield server.url
    finally:
        server.shutdown()
        server.server_close()


def _address_towards(url: str) -> str:
    """Return this machine's address on the way to a URL's host; nothing is sent for that."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    family, kind, _, _, location = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(location)
        return str(probe.getsockname()[0])


class _FileServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: str, path: Path, digest: str) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.path, self.tag = path, f'"{digest}"'
        self.secret = f"/{secrets.token_urlsafe(32)}/{quote(path.name)}"
        super().__init__((address, 0), _Handler)
        host = f"[{address}]" if ":" in address else address
        self.url = f"http://{host}:{self.server_address[1]}{self.secret}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that leaves: it comes again for the rest, or the import fails and says why."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    server: _FileServer

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: the address is a secret."""

    def do_GET(self) -> None:
        """Send the file, or the rest of it."""
        self.close_connection = True
        if not secrets.compare_digest(self.path.encode(), self.server.secret.encode()):
            self.send_error(404)
            return
        with self.server.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            begin = self._begin(size)
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(size - begin))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", self.server.tag)
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{size - 1}/{size}")
            self.end_headers()
            self.wfile.flush()
            while begin < size:
                begin += os.sendfile(self.connection.fileno(), file.fileno(), begin, min(size - begin, _STEP))

    def _begin(self, size: int) -> int:
        """Where to begin: not at 0 only for who has the beginning of this very file."""
        match = _RANGE.fullmatch(self.headers.get("Range", ""))
        if match is None or self.headers.get("If-Range", self.server.tag) != self.server.tag:
            return 0
        return int(match[1]) if int(match[1]) < size else 0
