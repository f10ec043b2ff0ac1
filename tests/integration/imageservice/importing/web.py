"""A web server that images are fetched from, with the faults that web servers have."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Web(ThreadingHTTPServer):
    """Serves ``files`` (path → bytes). A path's first part may ask for a fault, as in ``/cut/1000/x.img``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []  # path and Range
        self.agents: list[str | None] = []
        self.hurried: set[str] = set()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def hurry(self, name: str) -> None:
        """Let what drips of a file, and will, come at once."""
        self.hurried.add(name)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Web

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Range")))
        self.server.agents.append(self.headers.get("User-Agent"))
        fault, _, name = self.path.lstrip("/").rpartition("/")
        data = self.server.files.get(name)
        self.close_connection = True
        if fault.startswith("redirect/"):
            self._redirect(fault.removeprefix("redirect/").replace("|", "/") or f"/{name}")
        elif fault == "loop":
            self._redirect(self.path)
        elif data is None:
            self._plain(404, b"a page that says that there is nothing, and tells secrets")
        elif fault == "chunked":
            self._chunked(data, end=True)
        elif fault == "chunked-cut":
            self._chunked(data, end=False)
        elif fault == "endless":
            self._endless(data)
        elif fault == "gzip":
            self._send(200, data, {"Content-Encoding": "gzip"})
        elif fault == "stall":
            self._send(200, data, {}, cut=len(data) // 2, linger=True)
        elif match := re.fullmatch(r"(cut|resume|changed|weak)/(\d+)", fault):
            self._cut(match[1], int(match[2]), data)
        elif fault == "drip":
            self._drip(name, data)
        else:
            self._send(200, data, {})

    def _redirect(self, target: str) -> None:
        self.send_response(302)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _plain(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send(
        self, status: int, data: bytes, headers: dict[str, str], *, cut: int | None = None, linger: bool = False
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(data[:cut])
            self.wfile.flush()
        if linger:
            time.sleep(30)

    def _chunked(self, data: bytes, *, end: bool) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for start in range(0, len(data), 50_000):
            piece = data[start : start + 50_000]
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if end:
            self.wfile.write(b"0\r\n\r\n")

    def _endless(self, data: bytes) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(data)

    def _drip(self, name: str, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(OSError):
            for start in range(0, len(data), max(1, len(data) // 200)):
                self.wfile.write(data[start : start + max(1, len(data) // 200)])
                if name not in self.server.hurried:
                    # What a test hurries in the end must not have come before, however busy the machine is.
                    time.sleep(0.5 if name in ("dripping.img", "long.img") else 0.1)

    def _cut(self, kind: str, every: int, data: bytes) -> None:
        """Break off after ``every`` bytes; but vouch for the file, so that the rest can be asked for."""
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        tag = f'"{time.time_ns()}"' if kind == "changed" else '"one"'
        if kind == "weak":
            tag = f"W/{tag}"
        vouched = {} if kind == "cut" else {"ETag": tag, "Accept-Ranges": "bytes"}
        if match is None or kind in ("cut", "weak") or self.headers.get("If-Range") != tag:
            self._send(200, data, vouched, cut=every)
            return
        begin = int(match[1])
        rest = data[begin:]
        self._send(206, rest, {**vouched, "Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"}, cut=every)


@contextlib.contextmanager
def web() -> Iterator[Web]:
    """The server, for as long as the block runs."""
    server = Web()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
