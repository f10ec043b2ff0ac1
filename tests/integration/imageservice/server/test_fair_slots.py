"""Nobody starves the others: strangers' slow transfers, silent servers and long bodies, seen by events and counts."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from tests.environments import tls
from tests.environments.daemon import wait_until
from tests.environments.imageservice import ImageService, answers, image_service

pytestmark = pytest.mark.server
MIB = 1 << 20
WEB = {"allowed_networks": ["127.0.0.1/32"], "allowed_ports": [], "disallowed_ports": [22]}
SLOW = {"idle_timeout": 900, "least_rate_seconds": 600, "slot_wait": 600}


@contextlib.contextmanager
def running(**server: Any) -> Iterator[ImageService]:
    """The service with four slots for uploads, and for downloads: two for each of its processes."""
    stores: dict[str, Any] = {"stores": [{"id": "web", "type": "http"}]} if server.pop("web", False) else {}
    made: tls.Certificate | None = server.pop("certificate", None)
    if made is not None:
        stores["authority"] = made.authority
        server["tls"] = {"certificate": str(made.certificate), "key": str(made.key)}
    api = {"show_locations": True, "version_1": server.pop("version_1", False)}
    more = {"transfer_threads": 2, "request_threads": 2, "store_threads": 2, **SLOW, **server}
    with image_service(server=more, api=api, fetch=WEB, **stores) as service:
        yield service
        assert "Traceback" not in service.log.read_text()


def connected(service: ImageService, head: str, user: str = "alice", body: bytes = b"") -> socket.socket:
    """A connection on which a request has begun."""
    address = service.url.partition("://")[2].split(":")
    connection = socket.create_connection((address[0], int(address[1])), timeout=60)
    if service.authority is not None:
        context = ssl.create_default_context(cafile=str(service.authority))
        connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
    lines = f"{head}\r\nHost: x\r\nAccept: application/json\r\nX-Auth-Token: {user}-token\r\n\r\n"
    connection.sendall(lines.encode() + body)
    return connection


def dripping(service: ImageService, user: str = "alice") -> socket.socket:
    """An upload that has sent four bytes and goes on for ever."""
    head = f"PUT /v2/images/{service.create(user)}/file HTTP/1.1\r\nContent-Type: application/octet-stream"
    return connected(service, f"{head}\r\nTransfer-Encoding: chunked", user, b"4\r\ndrip\r\n")


def answered(connection: socket.socket) -> bool:
    """Whether something lies there to be read, or the connection has ended."""
    poll = select.poll()  # select.select() takes no descriptor above 1,023
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


def counted(service: ImageService, what: str, kind: str) -> int:
    text = service.request("GET", "/metrics").text
    found = re.search(rf'^image_service_slots_{what}{{kind="{kind}"}} (\d+)$', text, re.MULTILINE)
    assert found is not None, text
    return int(found[1])


def await_slots(service: ImageService, kind: str, used: int, waiting: int = 0) -> None:
    wait_until(lambda: counted(service, "in_use", kind) == used, f"{used} {kind} slots are in use")
    wait_until(lambda: counted(service, "waiting", kind) == waiting, f"{waiting} wait for {kind} slots")


def upload(service: ImageService, user: str) -> str:
    image = service.create(user)
    answer = service.upload(image, b"x" * MIB, user)
    assert answer.status_code == 204, answer.text
    return image


def test_nobody_of_the_second_project_waits_for_a_slot_of_the_first() -> None:
    with running() as service, contextlib.ExitStack() as stack:
        for _ in range(6):  # of four slots one is kept, two of these are refused or wait
            stack.enter_context(dripping(service))
        await_slots(service, "upload", 3, 2)
        for _ in range(3):
            image = upload(service, "bob")
            assert service.request("GET", f"/v2/images/{image}/file", "bob").content == b"x" * MIB
            assert service.request("DELETE", f"/v2/images/{image}", "bob").status_code == 204
        assert service.request("DELETE", f"/v2/images/{service.create()}").status_code == 204
        await_slots(service, "upload", 3, 2)  # nobody had to give way for that


def test_more_of_one_project_than_may_wait_are_refused() -> None:
    with running() as service, contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(dripping(service))
        await_slots(service, "upload", 3, 2)
        answer = service.upload(service.create(), b"x")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
        assert "too many of this project" in answer.text


def test_dripping_uploads_give_way_and_are_told() -> None:
    with running(least_rate_seconds=1) as service, contextlib.ExitStack() as stack:
        first = [stack.enter_context(dripping(service)) for _ in range(3)]
        await_slots(service, "upload", 3)  # or the other one comes before them, and one waits and makes another end
        other = stack.enter_context(dripping(service, "bob"))
        await_slots(service, "upload", 4)
        upload(service, "admin")
        wait_until(lambda: counted(service, "waiting", "upload") == 0, "nobody waits")
        wait_until(lambda: any(map(answered, first)), "one of them is told")
        (said,) = [connection.recv(65536) for connection in first if answered(connection)]
        assert said.startswith(b"HTTP/1.1 408 ")
        assert b"Connection: close" in said
        message = json.loads(said.partition(b"\r\n\r\n")[2])["message"]
        assert message.startswith("This transfer was ended because others waited for its slot")
        assert "less than 10 KiB a second over the last 1 seconds" in message
        await_slots(service, "upload", 3)
        assert not answered(other)  # it is the only one of its project


def test_over_tls_it_is_the_same(tmp_path: Path) -> None:
    made = tls.for_loopback(tmp_path)
    with running(least_rate_seconds=1, certificate=made) as service, contextlib.ExitStack() as stack:
        first = [stack.enter_context(dripping(service)) for _ in range(3)]
        await_slots(service, "upload", 3)
        upload(service, "bob")  # the place that is kept for projects that have none
        stack.enter_context(dripping(service, "bob"))
        await_slots(service, "upload", 4)
        upload(service, "admin")
        said: dict[socket.socket, bytes] = {}

        def is_told() -> bool:
            said.update({one: found for one in first if (found := read(one))})
            return bool(said)

        wait_until(is_told, "one of them is told")
        assert [found[:13] for found in said.values()] == [b"HTTP/1.1 408 "]
        await_slots(service, "upload", 3)
        silent = [stack.enter_context(stuck_body(service)) for _ in range(3)]
        await_slots(service, "body", 3)
        assert service.request("GET", "/v2/images", "bob").status_code == 200
        assert not any(map(read, silent))
        images = long_list(service)
        for _ in range(3):
            stack.enter_context(unread_list(service))
        await_slots(service, "answer", 3)
        assert listed(service, "bob") >= images


def read(connection: socket.socket) -> bytes:
    """What lies there to be read, deciphered; nothing where there is nothing, or only what belongs to TLS."""
    connection.setblocking(False)
    try:
        return connection.recv(65536)
    except (BlockingIOError, ssl.SSLWantReadError):
        return b""


def stuck_body(service: ImageService) -> socket.socket:
    """A patch whose body does not come."""
    kind = "Content-Type: application/openstack-images-v2.1-json-patch\r\nContent-Length: 100"
    return connected(service, f"PATCH /v2/images/{service.create()} HTTP/1.1\r\n{kind}")


def test_downloads_that_nobody_takes_give_way() -> None:
    with running(least_rate_seconds=1) as service, contextlib.ExitStack() as stack:
        images = {user: service.create(user) for user in ("alice", "bob", "admin")}
        for user, image in images.items():
            assert service.upload(image, bytes(16 * MIB), user).status_code == 204
        for _ in range(3):
            stack.enter_context(stuck_reader(service, images["alice"], "alice"))
        await_slots(service, "download", 3)
        stack.enter_context(stuck_reader(service, images["bob"], "bob"))
        await_slots(service, "download", 4)
        assert len(service.request("GET", f"/v2/images/{images['admin']}/file", "admin").content) == 16 * MIB
        await_slots(service, "download", 3)
        assert service.log.read_text().count("(download) gives way") == 1


def stuck_reader(service: ImageService, image: str, user: str) -> socket.socket:
    connection = connected(service, f"GET /v2/images/{image}/file HTTP/1.1\r\nConnection: close", user)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return connection


def test_location_checks_at_a_silent_server_hold_neither_metadata_nor_deletions() -> None:
    with (
        running(web=True) as service,
        socket.create_server(("127.0.0.1", 0)) as silent,
        contextlib.ExitStack() as stack,
    ):
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/disk.img"
        escaped = url.replace("disk", "d\\u0069sk")
        for number in range(5):
            name = ("locations", "\\u006cocations")[number % 2]
            value = f'{{"url": "{(url, escaped)[number % 2]}", "metadata": {{}}}}'
            body = f'[{{"op": "add", "path": "/{name}/-", "value": {value}}}]'.encode()
            kind = "application/openstack-images-v2.1-json-patch"
            path = ("/v2/images", "/v2/%69mages")[number % 2]
            head = f"PATCH {path}/{service.create()} HTTP/1.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}"
            stack.enter_context(connected(service, head, "alice", body))
        await_slots(service, "check", 3, 2)
        assert service.request("GET", "/v2/images").status_code == 200
        image = service.create("bob")
        assert service.request("DELETE", f"/v2/images/{image}", "bob").status_code == 204
        patch = [{"op": "add", "path": "/colour", "value": "red"}]
        headers = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
        image = service.create()
        assert service.request("PATCH", f"/v2/images/{image}", json=patch, headers=headers).status_code == 200


def test_bodies_that_do_not_come_hold_no_metadata() -> None:
    with running() as service, contextlib.ExitStack() as stack:
        for head in (
            "Transfer-Encoding: chunked",
            "Content-Length: 100000",
            "Content-Length: 9\r\nExpect: 100-continue",
        ):
            lines = f"POST /v2/images HTTP/1.1\r\nContent-Type: application/json\r\n{head}"
            stack.enter_context(connected(service, lines))
        await_slots(service, "body", 3)
        for _ in range(4):
            assert service.request("GET", "/v2/images").status_code == 200
        long = {"name": "x", "description": "d" * 60_000, "more": "d" * 60_000}
        assert service.request("POST", "/v2/images", "bob", json=long).status_code == 201


def long_list(service: ImageService) -> set[str]:
    """More public images than all buffers between server and client hold; their ids."""
    properties = {f"key{number}": "v" * 65_000 for number in range(15)}
    return {service.create("admin", visibility="public", **properties) for _ in range(8)}


def listed(service: ImageService, user: str) -> set[str]:
    """The ids of all images that a project sees."""
    answer = service.request("GET", "/v2/images", user)
    assert answer.status_code == 200, answer.text
    return {image["id"] for image in answer.json()["images"]}


def unread_list(service: ImageService, user: str = "alice", path: str = "/v2/images") -> socket.socket:
    """A list that was asked for and is not read."""
    connection = connected(service, f"GET {path} HTTP/1.1", user)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return connection


def test_lists_that_nobody_reads_hold_no_metadata() -> None:
    with running() as service, contextlib.ExitStack() as stack:
        images = long_list(service)
        readers = [stack.enter_context(unread_list(service)) for _ in range(5)]
        await_slots(service, "answer", 3, 2)
        for _ in range(8):  # of as many threads as there are
            assert service.request("GET", "/v2/images?name=none", "bob").status_code == 200
        assert listed(service, "bob") == images  # in the slot that is kept for projects that have none
        await_slots(service, "answer", 3, 2)  # nobody had to give way for that
        refused = service.request("GET", "/v2/images")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "30")
        assert "too many of this project" in refused.json()["message"]
        assert refused.headers["X-Openstack-Request-Id"].startswith("req-")
        for reader in readers:
            reader.close()
        await_slots(service, "answer", 0)
        assert listed(service, "alice") == images


def test_lists_of_the_first_version_hold_no_more() -> None:
    with running(version_1=True) as service, contextlib.ExitStack() as stack:
        images = long_list(service)
        for _ in range(3):
            stack.enter_context(unread_list(service, path="/v1/images/detail"))
        await_slots(service, "answer", 3)
        found = service.request("GET", "/v1/images/detail", "bob").json()["images"]
        assert {image["id"] for image in found} == images


def test_lists_that_nobody_reads_give_way() -> None:
    with running(least_rate_seconds=1) as service, contextlib.ExitStack() as stack:
        images = long_list(service)
        for _ in range(3):
            stack.enter_context(unread_list(service))
        await_slots(service, "answer", 3)
        stack.enter_context(unread_list(service, "bob"))
        await_slots(service, "answer", 4)
        assert listed(service, "admin") == images
        await_slots(service, "answer", 3)
        assert service.log.read_text().count("(answer) gives way") == 1


def test_a_connection_goes_on_after_a_long_answer() -> None:
    with running() as service:
        images = long_list(service)
        with connected(service, "GET /v2/images HTTP/1.1") as connection:
            for following in (b"GET /v2/images?limit=1 HTTP/1.1", b"GET /versions HTTP/1.1", b"GET / HTTP/1.1"):
                connection.sendall(following + b"\r\nHost: x\r\nX-Auth-Token: alice-token\r\n\r\n")
            with connection.makefile("rb") as stream:
                bodies = [body_of(stream) for _ in range(4)]
        assert [len(bodies[at]["images"]) for at in (0, 1)] == [len(images), 1]
        assert bodies[2]["versions"] == bodies[3]["versions"]


def body_of(stream: BinaryIO) -> Any:
    """The next answer's document."""
    head = b"".join(iter(stream.readline, b"\r\n"))
    length = re.search(rb"\r\ncontent-length: (\d+)\r\n", head, re.IGNORECASE)
    assert length is not None, head
    return json.loads(stream.read(int(length[1])))


def test_other_spellings_of_a_path_are_transfers_too() -> None:
    with running() as service, contextlib.ExitStack() as stack:
        for path in ("/v2/%69mages/{}/file", "/images/{}/file", "/v2/images/{}/%66ile"):
            head = f"PUT {path.format(service.create())} HTTP/1.1\r\nContent-Type: application/octet-stream"
            stack.enter_context(connected(service, f"{head}\r\nContent-Length: 100\r\nExpect: 100-continue"))
        await_slots(service, "upload", 3)
        for _ in range(4):
            assert service.request("GET", "/v2/images").status_code == 200


def test_the_slots_of_killed_processes_come_back() -> None:
    with running() as service, contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(dripping(service))
        await_slots(service, "upload", 3, 2)
        (arbiter,) = [pid for pid in children(service.child.pid) if children(pid)]
        for pid in children(arbiter):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: answers(service.url), "new processes answer")
        await_slots(service, "upload", 0)
        upload(service, "alice")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
