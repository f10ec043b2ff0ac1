"""The HTTP server itself: bodies, refusals, stuck clients, stopping."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.environments.daemon import listens, wait_until
from tests.integration.imageservice.server.plain_app import pattern, wait_for_note
from tests.integration.imageservice.server.plain_server import MIB, Server, receive, serve, upload_header

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "big").write_bytes(pattern(64 * MIB))
    with serve(folder) as server:
        yield server
        said = server.log.read_text()
        assert "Traceback" not in said, said


@pytest.fixture
def server(shared: Server) -> Server:
    (shared.folder / "notes").unlink(missing_ok=True)
    return shared


def readable(client: socket.socket) -> bool:
    """By poll(2): select(2) ends at descriptor 1023, and others in this process may hold as many."""
    looked_at = select.poll()
    looked_at.register(client, select.POLLIN)
    return bool(looked_at.poll(0))


def begin_upload(client: socket.socket, length: int, sent: int) -> None:
    """An upload of which the server has begun to read the data."""
    client.sendall(upload_header(length, "Expect: 100-continue"))
    assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.sendall(b"x" * sent)


@pytest.mark.parametrize("size", [0, 1, 1000, MIB, 9 * MIB + 7])
@pytest.mark.parametrize("chunked", [True, False])
def test_bodies_arrive_whole(server: Server, size: int, chunked: bool) -> None:
    data = pattern(size)
    client = server.http()
    for _ in range(2):  # the second time on the same connection
        pieces = (data[start : start + 70_001] for start in range(0, size, 70_001))
        if chunked:
            client.request(
                "PUT", "/v2/images/x/file", body=pieces, encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
            )
        else:
            client.request("PUT", "/v2/images/x/file", body=data)
        answer = client.getresponse()
        assert answer.read() == f"{size} {hashlib.md5(data).hexdigest()}".encode()
        assert answer.getheader("Connection") == "keep-alive"


def test_a_body_in_tiny_pieces(server: Server) -> None:
    with server.connect() as client:
        client.sendall(upload_header(None, "Connection: close"))
        for byte in b"3;name=value\r\nabc\r\n0a\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n":
            client.sendall(bytes([byte]))
            time.sleep(0.002)
        assert receive(client).endswith(f"13 {hashlib.md5(b'abc0123456789').hexdigest()}".encode())


def test_requests_may_follow_each_other_at_once(server: Server) -> None:
    first = upload_header(None) + b"5\r\nhello\r\n0\r\n\r\n"
    second = upload_header(5) + b"world"
    third = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlast"
    with server.connect() as client:
        client.sendall(first + second + third)
        said = receive(client)
    assert said.count(b"HTTP/1.1 200 OK") == 3
    assert hashlib.md5(b"hello").hexdigest().encode() in said
    assert hashlib.md5(b"world").hexdigest().encode() in said
    assert said.endswith(b"last")


@pytest.mark.parametrize(
    "framing",
    [
        b"5\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello",
        b"5\r\nhelloo\r\n0\r\n\r\n",
        b"\r\n",
        b"5 5\r\nhello",
        b"ffffffffffffffffff\r\n",
        b"5;" + b"x" * 9000 + b"\r\nhello\r\n0\r\n\r\n",
        b"0\r\n" + b"a: b\r\n" * 20_000,
    ],
)
def test_malformed_chunks_are_refused(server: Server, framing: bytes) -> None:
    with server.connect() as client:
        client.sendall(upload_header(None) + framing)
        said = receive(client)
    assert said.startswith(b"HTTP/1.1 400")
    assert b"malformed" in said
    assert said.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("cut", ["FIN", "RST"])
@pytest.mark.parametrize("sent", [b"", b"hello", b"x" * 3 * MIB])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_that_breaks_off_is_no_body(server: Server, sent: bytes, chunked: bool, cut: str) -> None:
    with server.connect() as client:
        client.sendall(upload_header(None if chunked else 20 * MIB))
        client.sendall((f"{10 * MIB:x}\r\n".encode() if chunked else b"") + sent)
        if cut == "RST":
            time.sleep(0.2)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    assert "ClientGone" in wait_for_note(server.folder, "upload")


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("sent", [b"", b"x" * (MIB + 5)])
def test_a_client_that_sends_nothing_more_is_given_up(server: Server, sent: bytes, chunked: bool) -> None:
    with server.connect() as client:
        client.sendall(upload_header(None if chunked else 20 * MIB))
        client.sendall((f"{10 * MIB:x}\r\n".encode() if chunked else b"") + sent)
        assert "ClientStalled" in wait_for_note(server.folder, "upload")


def test_a_refused_body_is_not_sent(server: Server) -> None:
    with server.connect() as client:
        client.sendall(upload_header(10 << 30, "Expect: 100-continue", path="/v2/images/x/file?refuse"))
        said = receive(client)
    assert said.startswith(b"HTTP/1.1 409")
    assert b"100 Continue" not in said
    assert b"Connection: close" in said


def test_an_accepted_body_is_asked_for(server: Server) -> None:
    with server.connect() as client:
        client.sendall(upload_header(5, "Expect: 100-continue", "Connection: close"))
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"hello")
        assert hashlib.md5(b"hello").hexdigest().encode() in receive(client)


def test_a_refusal_reaches_a_client_that_sends_all_the_same(server: Server) -> None:
    with server.connect() as client:
        client.sendall(upload_header(100 * MIB, path="/v2/images/x/file?refuse"))
        client.sendall(bytes(100 * MIB))
        said = receive(client)
    assert said.startswith(b"HTTP/1.1 409")
    assert said.endswith(b"refused")


def test_a_short_body_nobody_reads_keeps_the_connection(server: Server) -> None:
    client = server.http()
    for _ in range(3):
        client.request("GET", "/ignore-body", body=b"x" * 1000)
        answer = client.getresponse()
        assert answer.getheader("Connection") == "keep-alive"
        assert answer.read() == b"ignored"


@pytest.mark.parametrize("length", [64 * MIB, 5, 0])
def test_files_are_sent_whole(server: Server, length: int) -> None:
    client = server.http()
    for _ in range(2):
        client.request("GET", f"/v2/images/x/file?{length}")
        assert client.getresponse().read() == pattern(length)


def test_a_file_that_got_shorter_breaks_the_connection(server: Server) -> None:
    client = server.http()
    client.request("GET", f"/v2/images/x/file?{64 * MIB + 1}")
    with pytest.raises(http.client.IncompleteRead):
        client.getresponse().read()
    assert "StoreDamaged" in wait_for_note(server.folder, "download")


def test_a_reader_that_is_stuck_is_given_up(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b"GET /v2/images/x/file HTTP/1.1\r\nHost: x\r\n\r\n")
        assert "ClientStalled" in wait_for_note(server.folder, "download")


def test_a_reader_that_leaves_is_noticed(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b"GET /v2/images/x/file HTTP/1.1\r\nHost: x\r\n\r\n")
        client.recv(1000)
    assert "ClientGone" in wait_for_note(server.folder, "download")


def stuck_header(client: socket.socket) -> None:
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")


def stuck_json(client: socket.socket) -> None:
    client.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")


def stuck_upload(client: socket.socket) -> None:
    client.sendall(upload_header(10 * MIB) + b"x" * 1000)


def stuck_chunk(client: socket.socket) -> None:
    client.sendall(upload_header(None) + b"ff")


def stuck_reader(client: socket.socket) -> None:
    client.sendall(b"GET /v2/images/x/file HTTP/1.1\r\nHost: x\r\n\r\n")


def silent(client: socket.socket) -> None:
    pass


@pytest.mark.parametrize("stuck", [stuck_header, stuck_json, stuck_upload, stuck_chunk, stuck_reader, silent])
def test_stuck_clients_do_not_stand_in_the_way(server: Server, stuck: Callable[[socket.socket], None]) -> None:
    with contextlib.ExitStack() as clients:
        for _ in range(60):  # more than there are threads
            client = clients.enter_context(server.connect())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stuck(client)
        time.sleep(0.3)
        assert server.greets()
        # Nobody had to be given up for that: the last connection still stands.
        assert stuck is stuck_reader or not readable(client)
        # All of them are given up in the end: the last connections get closed.
        client.settimeout(30)
        if stuck is not stuck_reader:
            receive(client)
    assert server.greets(20)


def test_answers_that_nobody_reads_hold_no_thread(tmp_path: Path) -> None:
    short = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 15000\r\n\r\n" + b"x" * 15_000
    with serve(tmp_path, request_threads=2, idle_timeout=60) as server, contextlib.ExitStack() as clients:
        for _ in range(2):
            client, many = (clients.enter_context(server.connect()) for _ in range(2))
            for each in (client, many):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
            send_until_stuck(many, short)
        assert server.greets(8)


def send_until_stuck(client: socket.socket, request: bytes) -> None:
    """Send requests again and again, until the server takes no more: its answers have to be read first."""
    client.settimeout(2)
    with contextlib.suppress(TimeoutError):
        while True:
            client.sendall(request)


def test_a_header_in_pieces(server: Server) -> None:
    with server.connect() as client:
        for piece in (b"GET /he", b"llo HT", b"TP/1.1\r\nHost: x\r\nConn", b"ection: close\r\n\r", b"\n"):
            client.sendall(piece)
            time.sleep(0.05)
        assert receive(client).endswith(b"hello")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET /hello?" + b"x" * 16_000 + b" HTTP/1.1", 200),
        (b"GET /hello?" + b"x" * 16_400 + b" HTTP/1.1", 414),
        (b"GET /hello?" + b"x" * 70_000 + b" HTTP/1.1", 431),
        (b"GET  HTTP/1.1", 400),
        (b"G(T / HTTP/1.1", 400),
        (b"GET / HTTP/1.1\r\nbad header: x", 400),
        (b"PUT /v2/images/x/file HTTP/1.1\r\nTransfer-Encoding: gzip, chunked", 501),
        (b"PUT /v2/images/x/file HTTP/1.1\r\nTransfer-Encoding: gzip", 501),
        (b"PUT /v2/images/x/file HTTP/1.1\r\nTransfer-Encoding: identity", 501),
        (b"PUT /v2/images/x/file HTTP/1.1\r\nTransfer-Encoding: x-unknown", 501),
    ],
)
def test_requests_that_cannot_be_read_are_refused_like_all_others(server: Server, line: bytes, status: int) -> None:
    with server.connect() as client:
        client.sendall(line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = http.client.HTTPResponse(client)
        answer.begin()
        body = answer.read()
    assert answer.status == status
    if status != 200:
        assert answer.getheader("Content-Type") == "application/json"
        assert (answer.getheader("X-Openstack-Request-Id") or "").startswith("req-")
        told = json.loads(body)
        assert told["code"].startswith(str(status))
        assert told["message"]


def test_a_header_without_end(server: Server) -> None:
    with server.connect() as client, contextlib.suppress(ConnectionError):
        client.sendall(b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 200_000)
        assert receive(client).startswith(b"HTTP/1.1 4")
    assert server.greets()


def test_running_uploads_end_before_a_stop_and_new_ones_are_refused(tmp_path: Path) -> None:
    with serve(tmp_path) as server, server.connect() as client:
        begin_upload(client, 4 * MIB, MIB)
        server.child.send_signal(signal.SIGTERM)
        wait_until(lambda: not listens(server.port), "the port is closed")
        client.sendall(b"x" * MIB)
        time.sleep(0.5)
        client.sendall(b"x" * 2 * MIB)
        assert receive(client).endswith(hashlib.md5(b"x" * 4 * MIB).hexdigest().encode())
        assert server.child.wait(20) == 0


def test_a_stop_has_a_deadline(tmp_path: Path) -> None:
    with serve(tmp_path, stop_timeout=1, idle_timeout=60) as server, server.connect() as client:
        begin_upload(client, 4 * MIB, MIB)
        server.child.send_signal(signal.SIGTERM)
        assert "service is stopping" in wait_for_note(tmp_path, "upload")
        assert server.child.wait(20) == 0


def test_an_interrupt_ends_everything_at_once(tmp_path: Path) -> None:
    with serve(tmp_path, idle_timeout=60, stop_timeout=60) as server, server.connect() as client:
        begin_upload(client, 4 * MIB, MIB)
        server.child.send_signal(signal.SIGINT)
        assert "service is stopping" in wait_for_note(tmp_path, "upload")
        server.child.wait(30)  # an orderly stop would wait for the upload twice as long


def test_memory_is_bounded_by_the_budget(tmp_path: Path) -> None:
    with serve(tmp_path, transfer_threads=64, idle_timeout=30) as server:
        worker = int(_children(server.child.pid)[0])
        before = _peak(worker)
        threads = [threading.Thread(target=_put, args=(server, 64 * MIB)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert _peak(worker) - before < 200 * MIB


def _put(server: Server, size: int) -> None:
    client = server.http()
    client.request("PUT", "/v2/images/x/file", body=bytes(size))
    assert client.getresponse().status == 200


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _peak(pid: int) -> int:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024
