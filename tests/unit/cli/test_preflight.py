import http.server
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline.base import atomic
from pipeline.base.home import Home
from pipeline.cli import preflight
from pipeline.host.doctor import PreflightLevel, PreflightResult
from pipeline.host.system import ports


def _ask(home: Home, port: int) -> PreflightResult:
    atomic.write_text(home.service / "settings.yaml", f"listen: 127.0.0.1:{port}\n")
    (verdict,) = preflight.service_port(home)
    return verdict


@contextmanager
def _answering(status: int, body: bytes) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_free_port(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert _ask(home, port) == PreflightResult(PreflightLevel.GOOD, f"127.0.0.1:{port} is free")


@pytest.mark.parametrize("status", [200, 300])
def test_an_image_service_that_runs_already(home: Home, status: int) -> None:
    with _answering(status, b'{"versions": [{"id": "v2.17"}]}') as port:
        assert _ask(home, port).level is PreflightLevel.GOOD


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}"])
def test_somebody_else_on_the_port_is_named(home: Home, body: bytes) -> None:
    with _answering(200, body) as port:
        verdict = _ask(home, port)
    assert verdict.level is PreflightLevel.FAILURE
    assert verdict.text.startswith(f"127.0.0.1:{port} is taken by ")
    assert verdict.text.endswith(f"(process {os.getpid()})")
    assert "settings.yaml" in str(verdict.fix)


def test_an_address_that_is_not_ours(home: Home) -> None:
    atomic.write_text(home.service / "settings.yaml", "listen: 192.0.2.1:9292\n")
    (verdict,) = preflight.service_port(home)
    assert (verdict.level, "Cannot assign" in verdict.text) == (PreflightLevel.FAILURE, True)


def test_nobody_listens_on_a_port_that_is_only_held() -> None:
    # Held in both families all the time, so that no neighbour can come to listen there.
    with socket.socket(socket.AF_INET6) as held:
        held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        held.bind(("::", 0))
        port = held.getsockname()[1]
        assert ports.listener(port) is None
        held.listen()
        assert ports.listener(port) is not None
