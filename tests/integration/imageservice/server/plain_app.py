"""The HTTP server with an application that has no images: it counts, echoes and sends what the tests ask for.

``python -m tests.integration.imageservice.server.plain_app PORT OPTIONS-JSON FOLDER``
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pipeline.imageservice.cancellation.active_transfers import running
from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.data.buffers import Buffers
from pipeline.imageservice.data.taps import DigestTap
from pipeline.imageservice.data.transfer import transfer
from pipeline.imageservice.errors import ServiceError
from pipeline.imageservice.server.application import ImageApplication
from pipeline.imageservice.server.options import ServerOptions

Start = Callable[[str, list[tuple[str, str]]], Any]


class PlainApp:
    """``PUT …/file`` digests, ``GET …/file`` sends the file ``big``, ``POST`` echoes, ``GET /long`` is zeros,
    any other ``GET`` "hello"."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.buffers = Buffers()

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if method == "PUT":
            return self.put(environ, start)
        if method == "POST":
            return answer(start, environ["wsgi.input"].read())
        if method == "GET" and path.endswith("/file"):
            return self.send(environ, start)
        if path == "/long":
            return answer(start, bytes(16 << 20))
        if path == "/ignore-body":
            return answer(start, b"ignored")
        return answer(start, b"hello")

    def put(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        if environ["QUERY_STRING"] == "refuse":
            return answer(start, b"refused", "409 Conflict")
        tap, cancel_token = DigestTap("md5"), CancelToken()
        try:
            with running.listed(cancel_token):
                moved = transfer(environ["wsgi.input"], [], self.buffers, taps=[tap], cancel_token=cancel_token)
        except ServiceError as error:
            self.note(f"upload: {type(error).__name__}: {error}")
            return answer(start, str(error).encode(), "400 Bad Request")
        self.note("upload: complete")
        return answer(start, f"{moved.size} {tap.hexdigest()}".encode())

    def send(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        file = (self.folder / "big").open("rb", buffering=0)
        length = int(environ["QUERY_STRING"] or (self.folder / "big").stat().st_size)
        start("200 OK", [("Content-Length", str(length))])
        if "imageservice.send_file" not in environ:
            return iter(lambda: file.read(1 << 20), b"")

        def done(sent: int, error: BaseException | None) -> None:
            self.note(f"download: {sent} {type(error).__name__ if error else 'complete'}")

        sent: Iterable[bytes] = environ["imageservice.send_file"](file, length, check=lambda: None, done=done)
        return sent

    def note(self, text: str) -> None:
        with (self.folder / "notes").open("a") as notes:
            notes.write(f"{text}\n")


def answer(start: Start, body: bytes, status: str = "200 OK") -> list[bytes]:
    start(status, [("Content-Length", str(len(body))), ("Content-Type", "text/plain")])
    return [body]


def wait_for_note(folder: Path, beginning: str, seconds: float = 30) -> str:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if (folder / "notes").exists():
            for line in (folder / "notes").read_text().splitlines():
                if line.startswith(beginning):
                    return line
        time.sleep(0.05)
    raise AssertionError(f"no note {beginning!r} within {seconds} s")


def pattern(size: int) -> bytes:
    """Data that is not the same anywhere, quickly."""
    block = b"".join(hashlib.sha512(number.to_bytes(4, "big")).digest() for number in range(1024))
    return b"".join(number.to_bytes(8, "big") + block for number in range(size // (len(block) + 8) + 1))[:size]


if __name__ == "__main__":
    port, options, folder = int(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3])
    sys.argv = sys.argv[:1]
    ImageApplication(("127.0.0.1", port), ServerOptions.model_validate(options), lambda: PlainApp(folder)).run()
