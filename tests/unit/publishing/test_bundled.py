"""The bundled service's address may be taken by somebody else's."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.base.owner import Owner
from pipeline.publishing import bundled


class _Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home whose service's address answers."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home = Home(tmp_path, tmp_path / "cache")
    home.service.mkdir()
    (home.service / "settings.yaml").write_text(f"listen: 127.0.0.1:{server.server_port}\n")
    (home.service / "token").write_text("secret\n")
    yield home
    server.shutdown()
    server.server_close()


def test_somebody_elses_service_is_not_taken_for_ours(home: Home) -> None:
    with pytest.raises(PipelineError, match="another image service than the one of"):
        bundled.ensure_running(home)


def test_our_own_running_service_is_used(home: Home) -> None:
    (home.service / "service.pid").write_text(Owner.current().mark + "\n")
    assert bundled.ensure_running(home) is False
