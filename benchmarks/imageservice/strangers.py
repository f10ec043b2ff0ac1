"""What a stranger can do to others: ``python -m benchmarks.imageservice.strangers``.

One project drips uploads, patches locations at a silent server, has the service fetch from servers that drip, and sends
the largest patches there may be. Another project's calls are timed beside that, and beside as many clients of the first
project that are honest: each uploads at 20 KiB/s, fetches small files, and patches one property. The first project's
clients are a process of their own, so that they do not keep the interpreter from the one that measures.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import multiprocessing
import os
import re
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import figures
from benchmarks.imageservice.imports import ask, origin, wait
from tests.environments.imageservice import ImageService, image_service

MIB = 1 << 20
_PATCH = "application/openstack-images-v2.1-json-patch"
_LIMITS = {"get": 2.0, "upload": 3.0, "import": 3.0}
_HONEST_RATE = 20 << 10


@dataclass
class Crowd:
    """The clients of the first project. ``end`` stops them."""

    service: ImageService
    honest: bool
    end: threading.Event = field(default_factory=threading.Event)
    sockets: list[socket.socket] = field(default_factory=list)

    def begin(self, head: str, body: bytes = b"") -> None:
        """Begin a request on a connection that is kept."""
        host, port = self.service.url.removeprefix("http://").split(":")
        connection = socket.create_connection((host, int(port)))
        self.sockets.append(connection)
        connection.sendall(f"{head}\r\nHost: x\r\nX-Auth-Token: alice-token\r\n\r\n".encode() + body)
        connection.setblocking(False)

    def uploads(self, count: int) -> None:
        """Begin uploads, and feed them: a piece each second, or a byte in ten."""
        for image in [self.service.create() for _ in range(count)]:
            path = f"/v2/images/{image}/file"
            kind = "Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked"
            self.begin(f"PUT {path} HTTP/1.1\r\n{kind}", b"1\r\nx\r\n")
        feeding = list(self.sockets)
        size, pause = (_HONEST_RATE, 1.0) if self.honest else (1, 10.0)
        piece = b"%x\r\n%s\r\n" % (size, b"x" * size)

        def feed() -> None:
            while not self.end.wait(pause):
                for one in feeding:
                    with contextlib.suppress(OSError):
                        one.send(piece)

        threading.Thread(target=feed, daemon=True).start()

    def locations(self, count: int, silent: str) -> None:
        """Patch locations at a server that says nothing."""
        value = {"url": silent, "metadata": {}}
        body = json.dumps([{"op": "add", "path": "/locations/-", "value": value}]).encode()
        for _ in range(count):
            head = f"PATCH /v2/images/{self.service.create()} HTTP/1.1\r\nContent-Type: {_PATCH}"
            self.begin(f"{head}\r\nContent-Length: {len(body)}", body)

    def patches(self, count: int, operations: int) -> None:
        """Patch an image again and again, with so many operations, each time to something else."""
        bodies = [
            json.dumps(
                [{"op": "add", "path": f"/key{key % 100}", "value": letter * 100} for key in range(operations)]
            ).encode()
            for letter in "vw"
        ]

        def run() -> None:
            image = self.service.create()
            for body in itertools.cycle(bodies):
                if self.end.is_set():
                    return
                with contextlib.suppress(Exception):
                    headers = {"Content-Type": _PATCH}
                    self.service.request("PATCH", f"/v2/images/{image}", data=body, headers=headers)

        for _ in range(count):
            threading.Thread(target=run, daemon=True).start()

    def close(self) -> None:
        """End them all."""
        self.end.set()
        for one in self.sockets:
            one.close()


@contextlib.contextmanager
def silent_server(first: bytes = b"") -> Iterator[int]:
    """Provide a server that takes connections, sends ``first``, and then nothing; its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        kept = []

        def run() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    kept.append(connection)
                    if first:
                        connection.recv(4096)
                        connection.sendall(first)

        threading.Thread(target=run, daemon=True).start()
        yield int(server.getsockname()[1])


def timed(work: Callable[[], Any], count: int) -> list[float]:
    """Seconds of each of ``count`` times."""
    found = []
    for _ in range(count):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return found


def run_crowd(service: ImageService, given: argparse.Namespace, honest: bool, urls: list[str], ends: Any) -> None:
    """Be the first project's clients, in a process of their own. ``urls``: to import; the last one's server is silent.

    ``ends``: is told once all have begun, and tells when to end.
    """
    crowd = Crowd(service, honest)
    for _ in range(8):
        ask_as(service, urls[0], "alice")
    if not honest:
        crowd.locations(40, urls[-1])
    crowd.uploads(given.uploads)
    while uploads_begun(service) < given.uploads:
        time.sleep(0.5)
    crowd.patches(8, 1 if honest else 2000)
    ends.send("begun")
    ends.recv()
    crowd.close()


def uploads_begun(service: ImageService) -> int:
    """How many uploads hold a slot or wait for one."""
    text = service.request("GET", "/metrics").text
    return sum(
        map(int, re.findall(r'^image_service_slots_(?:in_use|waiting){kind="upload"} (\d+)$', text, re.MULTILINE))
    )


@contextlib.contextmanager
def crowd_beside(service: ImageService, given: argparse.Namespace, honest: bool, urls: list[str]) -> Iterator[None]:
    """Have the first project's clients work while the block runs."""
    here, there = multiprocessing.Pipe()
    child = multiprocessing.Process(target=run_crowd, args=(service, given, honest, urls, there), daemon=True)
    child.start()
    there.close()
    try:
        here.recv()
        time.sleep(2)
        yield
        here.send("end")
    finally:
        child.join(10)
        child.kill()


def measure(folder: Path, web: str, given: argparse.Namespace, *, honest: bool) -> dict[str, list[float]]:
    """Return what the second project's calls take beside a crowd. Raises when one of them is refused."""
    fetch = {"allowed_networks": ["127.0.0.1/32"], "allowed_ports": [], "disallowed_ports": [22]}
    stores = [{"id": "main", "directories": [str(folder / "main")]}, {"id": "web", "type": "http"}]
    more: dict[str, Any] = {"api": {"show_locations": True}, "stores": stores, "fetch": fetch}
    more["server"] = {"idle_timeout": 900}
    more["data"] = {"upload_lease": 60}  # as it is by default: tests have shorter ones
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx"
    with image_service(folder, **more) as service, silent_server() as silent, silent_server(head) as drips:
        urls = [f"{web}/small.img" if honest else f"http://127.0.0.1:{drips}/x", f"http://127.0.0.1:{silent}/x"]
        with crowd_beside(service, given, honest, urls):
            return {
                "get": timed(lambda: answered(service.request("GET", "/v2/images", "bob")), given.rounds * 20),
                "upload": timed(lambda: upload(service), given.rounds),
                "import": timed(lambda: bring(service, f"{web}/small.img"), given.rounds),
            }


def upload(service: ImageService) -> None:
    """Upload 10 MiB for the second project."""
    answered(service.upload(service.create("bob"), bytes(10 * MIB), "bob"))


def bring(service: ImageService, url: str) -> None:
    """Import 1 MiB for a third project, and wait for it."""
    wait(service, [ask(service, url, ["main"], "raw")])


def ask_as(service: ImageService, url: str, user: str) -> None:
    """Begin an import for a user."""
    image = service.create(user)
    body = {"method": {"name": "web-download", "uri": url}, "stores": ["main"]}
    answered(service.request("POST", f"/v2/images/{image}/import", user, json=body))


def answered(answer: Any) -> None:
    """Raise unless a call was taken."""
    answer.raise_for_status()


def main() -> int:
    """Measure and print; 1 when something demanded was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, default=700, help="uploads at once of the first project")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory(prefix="strangers-") as made:
        folder = Path(made)
        (folder / "web").mkdir()
        (folder / "web" / "small.img").write_bytes(bytes(MIB))
        with origin(folder / "web") as web:
            found = {}
            for honest in (True, False):
                (folder / str(honest)).mkdir()
                found[honest] = measure(folder / str(honest), web, given, honest=honest)
    print(f"load: {os.getloadavg()[0]:.1f}", flush=True)
    for what, limit in _LIMITS.items():
        beside = {honest: _p95(seconds[what]) for honest, seconds in found.items()}
        ratio = beside[False] / beside[True]
        figures.note(f"{what} beside strangers, to beside honest clients", ratio, "×", most=limit)
        middle = {honest: statistics.median(seconds[what]) * 1000 for honest, seconds in found.items()}
        medians = middle[False] / middle[True]
        print(f"{what}: {ratio:.2f} × at p95 (needed ≤ {limit}), {medians:.2f} × of medians", flush=True)
        for honest, name in ((True, "honest clients"), (False, "strangers")):
            print(f"    beside {name}: p95 {beside[honest] * 1000:.0f} ms, median {middle[honest]:.0f} ms", flush=True)
        missed += ratio > limit
    return 1 if missed else 0


def _p95(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.95))]


if __name__ == "__main__":
    sys.exit(main())
