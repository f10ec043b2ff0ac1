"""Downloads from real servers that break, lie, hang up and come back."""

from __future__ import annotations

import hashlib
import http.server
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.retry import RetryPolicy
from pipeline.host.network import download
from pipeline.host.network.download import Pin, fetch

pytestmark = pytest.mark.server

CONTENT = os.urandom(3 << 20)
PIN = Pin(hashlib.sha256(CONTENT).hexdigest(), {"md5": hashlib.md5(CONTENT).hexdigest()}, len(CONTENT))

Answer = Callable[["_Handler"], None]


@dataclass
class Mirror:
    """A server that does what it is told, and remembers what it was asked."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)

    @property
    def file(self) -> str:
        return f"{self.url}/cirros.img"


class _Handler(http.server.BaseHTTPRequestHandler):
    mirror: Mirror

    def do_GET(self) -> None:
        self.mirror.ranges.append(self.headers.get("Range"))
        answer = self.mirror.answers.pop(0) if len(self.mirror.answers) > 1 else self.mirror.answers[0]
        answer(self)

    def log_message(self, format: str, *words: object) -> None:
        pass

    def start(self) -> int:
        found = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(found[1]) if found else 0


def good(handler: _Handler, stop_after: int | None = None, content: bytes = CONTENT) -> None:
    start = handler.start()
    handler.send_response(206 if start else 200)
    handler.send_header("Content-Length", str(len(content) - start))
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    handler.end_headers()
    handler.wfile.write(content[start : stop_after and start + stop_after])
    if stop_after:
        handler.connection.close()


def without_ranges(handler: _Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    handler.wfile.write(CONTENT)


def status(code: int) -> Answer:
    def answer(handler: _Handler) -> None:
        handler.send_error(code)

    return answer


@pytest.fixture
def mirror() -> Iterator[Callable[..., Mirror]]:
    servers = []

    def start(*answers: Answer) -> Mirror:
        made = Mirror(answers=list(answers))
        handler = type("Handler", (_Handler,), {"mirror": made})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        made.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return made

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_RETRIES", RetryPolicy(attempts=4, first=0.01))
    monkeypatch.setattr(download, "_SILENCE", 1)


def test_a_file_is_fetched_once(mirror: Callable[..., Mirror], tmp_path: Path) -> None:
    server = mirror(good)
    first = fetch([server.file], PIN, tmp_path)
    assert first.read_bytes() == CONTENT
    assert first.stat().st_mode & 0o777 == 0o444
    assert fetch([server.file], PIN, tmp_path, offline=True) == first
    assert len(server.ranges) == 1
    assert {file.name for file in tmp_path.iterdir()} == {PIN.sha256, f"{PIN.sha256}.lock"}


def test_a_broken_connection_is_continued(mirror: Callable[..., Mirror], tmp_path: Path) -> None:
    server = mirror(
        lambda handler: good(handler, stop_after=1 << 20), lambda handler: good(handler, stop_after=300_000), good
    )
    assert fetch([server.file], PIN, tmp_path).read_bytes() == CONTENT
    assert server.ranges[0] is None
    starts = [int(str(asked).strip("bytes=-")) for asked in server.ranges[1:]]
    # Of what was on its way when the connection broke, less than a block is lost.
    assert (1 << 20) - download._BLOCK <= starts[0] <= 1 << 20
    assert starts[0] + 300_000 - download._BLOCK <= starts[1] <= starts[0] + 300_000


def test_what_a_killed_run_left_is_continued_by_any_mirror(mirror: Callable[..., Mirror], tmp_path: Path) -> None:
    (tmp_path / f"{PIN.sha256}.part").write_bytes(CONTENT[: 2 << 20])
    dead, server = mirror(status(503)), mirror(good)
    assert fetch([dead.file, server.file], PIN, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={2 << 20}-"]


def test_a_server_without_ranges_starts_again(mirror: Callable[..., Mirror], tmp_path: Path) -> None:
    (tmp_path / f"{PIN.sha256}.part").write_bytes(CONTENT[:100])
    assert fetch([mirror(without_ranges).file], PIN, tmp_path).read_bytes() == CONTENT


def test_a_wrong_beginning_is_thrown_away(mirror: Callable[..., Mirror], tmp_path: Path) -> None:
    (tmp_path / f"{PIN.sha256}.part").write_bytes(b"x" * 5000)
    server = mirror(good)
    assert fetch([server.file], PIN, tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=5000-", None]


def test_a_complete_part_needs_no_bytes(mirror: Callable[..., Mirror], tmp_path: Path) -> None:
    (tmp_path / f"{PIN.sha256}.part").write_bytes(CONTENT)
    assert fetch([mirror(status(416)).file], PIN, tmp_path).read_bytes() == CONTENT


def test_every_mirror_is_tried_and_told_of(mirror: Callable[..., Mirror], tmp_path: Path) -> None:
    gone = mirror(status(404))
    other = mirror(lambda handler: good(handler, content=bytes(len(CONTENT))))
    short = mirror(lambda handler: good(handler, content=CONTENT[:-1]))
    urls = [gone.file, other.file, short.file, "http://user:secret@127.0.0.1:1/cirros.img"]
    with pytest.raises(PipelineError) as caught:
        fetch(urls, PIN, tmp_path)
    assert caught.value.message == "cirros.img cannot be fetched"
    reasons = caught.value.details
    assert reasons[0] == f"{gone.file}: the server answered 404 Not Found"
    assert reasons[1].startswith(f"{other.file}: the file has sha256 ")
    assert reasons[2] == f"{short.file}: the file has {len(CONTENT) - 1} bytes instead of {len(CONTENT)}"
    assert reasons[3] == "http://127.0.0.1:1/cirros.img: nothing listens there (connection refused)"
    assert "secret" not in str(caught.value)
    assert "--source" in str(caught.value.hint)
    assert not (tmp_path / PIN.name).exists()
    assert len(gone.ranges) == 1, "a refusal is not asked for again"


def test_a_server_that_falls_silent_is_left(mirror: Callable[..., Mirror], tmp_path: Path) -> None:
    release = threading.Event()

    def silent(handler: _Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        release.wait(30)

    hanging, server = mirror(silent), mirror(good)
    assert fetch([hanging.file, server.file], PIN, tmp_path).read_bytes() == CONTENT
    release.set()


def test_a_wrong_md5_is_refused_too(mirror: Callable[..., Mirror], tmp_path: Path) -> None:
    pin = Pin(PIN.sha256, {"md5": "0" * 32})
    with pytest.raises(PipelineError, match="cannot be fetched") as caught:
        fetch([mirror(good).file], pin, tmp_path)
    assert "has md5" in caught.value.details[0]


def test_a_server_that_never_ends_is_stopped(mirror: Callable[..., Mirror], tmp_path: Path) -> None:
    def endless(handler: _Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(bytes(1 << 20))
        except OSError:
            pass

    with pytest.raises(PipelineError) as caught:
        fetch([mirror(endless).file], PIN, tmp_path)
    assert f"more than {len(CONTENT)} bytes" in caught.value.details[0]
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= len(CONTENT) + (2 << 20)


def test_only_the_web_is_asked(tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as caught:
        fetch(["file:///etc/passwd"], PIN, tmp_path)
    assert "only http and https" in caught.value.details[0]


def test_offline_is_offline(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"cirros\.img is not in the cache"):
        fetch(["http://127.0.0.1:1/cirros.img"], PIN, tmp_path, offline=True)


def test_two_at_once_fetch_it_once(mirror: Callable[..., Mirror], tmp_path: Path) -> None:
    server = mirror(good)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(fetch([server.file], PIN, tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {file.read_bytes() for file in found} == {CONTENT}
    assert len(server.ranges) == 1
