"""A receiver of notifications, as the service's web hook target calls it."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hook:
    """A receiver that can be made to fail, or to keep the sender waiting."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.failures = 0
        self.hold = ""  # the type of event whose receipt is not confirmed
        self.held = threading.Event()
        self.released = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if hook.failures:
                    hook.failures -= 1
                    self.send_response(503)
                else:
                    hook.received.append((dict(self.headers), body))
                    if hook.hold and json.loads(body)["event_type"] == hook.hold:
                        hook.held.set()
                        hook.released.wait(60)
                    self.send_response(204)
                with contextlib.suppress(OSError):
                    self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/events"

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _headers, body in self.received]

    def wait(self, count: int) -> list[dict[str, Any]]:
        end = time.monotonic() + 20
        while len(self.received) < count and time.monotonic() < end:
            time.sleep(0.02)
        assert len(self.received) == count, [event["event_type"] for event in self.events]
        return self.events


@contextlib.contextmanager
def webhook() -> Iterator[Hook]:
    """A receiver that answers while the block runs."""
    hook = Hook()
    threading.Thread(target=hook.server.serve_forever, daemon=True).start()
    yield hook
    hook.released.set()
    hook.server.shutdown()
    hook.server.server_close()
