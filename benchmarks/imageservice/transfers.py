"""How fast image data moves, at what cost: ``python -m benchmarks.imageservice.transfers``.

Uploads stand beside a raw socket server that does nothing but feed two hash threads, and beside the two hashes alone;
downloads beside nginx. Rounds are interleaved and medians compared, so that what else the machine does weighs on all
alike. ``--size`` in MiB is that of one image; ``--only`` picks a part.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import figures
from benchmarks.imageservice import usage
from benchmarks.imageservice.raw_server import BLOCK, Hashing
from benchmarks.imageservice.serving import Client, Served, served
from pipeline.host.system import process
from tests.environments.daemon import free_port, listens, wait_until
from tests.environments.nginx import nginx

MIB = 1 << 20
PARTS = ("upload", "download", "memory")
_CHUNK = 64 << 10  # what clients send as one chunk
_RATE, _CPU_DISCARDING, _CPU_FILE = 0.9, 1.25, 1.4
_DOWNLOAD_RATE, _DOWNLOAD_CPU = 0.85, 1.1
_BUDGET = 256 * MIB
_DATA = memoryview(os.urandom(64 * MIB))


@dataclass(frozen=True)
class Sample:
    """One measurement: seconds of the clock and of the server's processors."""

    seconds: float
    cpu: float


def sample(work: Callable[[], object], pid: int) -> Sample:
    """Do ``work``; what it took, and what it cost the processes of ``pid``."""
    pids = usage.family(pid)
    before, start = usage.cpu(pids), time.perf_counter()
    work()
    return Sample(time.perf_counter() - start, usage.cpu(pids) - before)


def send(port: int, path: str, size: int, *, chunked: bool = False) -> None:
    """PUT ``size`` bytes. Raises ``RuntimeError`` unless they were taken."""
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    head = (
        f"PUT {path} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: token-of-admin\r\n"
        f"Content-Type: application/octet-stream\r\n{framing}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode())
        step = _CHUNK if chunked else BLOCK
        for offset in range(0, size, step):
            location = offset % len(_DATA)
            data = _DATA[location : location + min(step, size - offset)]
            if chunked:
                _send_parts(connection, b"%x\r\n" % len(data), data, b"\r\n")
            else:
                connection.sendall(data)
        if chunked:
            connection.sendall(b"0\r\n\r\n")
        status = connection.recv(4096).partition(b"\r\n")[0]
    if b" 204 " not in status:
        raise RuntimeError(f"the upload was not taken: {status!r}")


def _send_parts(connection: socket.socket, head: bytes, data: memoryview, tail: bytes) -> None:
    sent = connection.sendmsg([head, data, tail])
    if sent < len(head) + len(data) + len(tail):
        connection.sendall(b"".join((head, data, tail))[sent:])


def receive(port: int, path: str) -> int:
    """GET it; how many bytes came."""
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: token-of-admin\r\nConnection: close\r\n\r\n"
    count, buffer = 0, bytearray(BLOCK)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode())
        while got := connection.recv_into(buffer):
            count += got
    return count


def at_once(count: int, work: Callable[[], object]) -> None:
    """Do ``work`` in several threads. Raises what one of them raised."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def hash_alone(size: int) -> Sample:
    """Return the two hashes, of bytes that are in memory."""
    used, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    hashing = Hashing()
    for offset in range(0, size, BLOCK):
        location = offset % len(_DATA)
        hashing.put(_DATA[location : location + BLOCK])
    hashing.finish()
    seconds, now = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    return Sample(seconds, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime)


@contextmanager
def raw_server(folder: Path) -> Iterator[tuple[int, int]]:
    """Port and process id of the yardstick for uploads."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.imageservice.raw_server", str(port)]
    with (folder / "raw.log").open("wb") as log, process.started(command, log=log) as child:
        wait_until(lambda: listens(port), "the raw server")
        yield port, child.pid


class Report:
    """Prints what was measured and remembers what was missed."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def line(self, name: str, samples: list[Sample], size: int) -> tuple[float, float]:
        """Median rate (MB/s) and CPU seconds a GiB of one thing."""
        rate = statistics.median(size / 1e6 / one.seconds for one in samples)
        cpu = statistics.median(one.cpu * (1 << 30) / size for one in samples)
        figures.note(name, rate, "MB/s", n=len(samples))
        figures.note(f"{name}, CPU for a GiB", cpu, "s", n=len(samples))
        print(f"{name:<34}{rate:>8.0f} MB/s {cpu:>7.2f} CPU-s/GiB", flush=True)
        return rate, cpu

    def hold(self, what: str, value: float, *, least: float = 0, most: float = float("inf")) -> None:
        """Print a ratio and whether it is within what is demanded."""
        limit = f"≥ {least}" if least else f"≤ {most}"
        figures.note(what, value, "×", least=least or None, most=None if least else most)
        print(f"    {what}: {value:.2f} ×  (needed {limit})", flush=True)
        if not least <= value <= most:
            self.missed.append(f"{what}: {value:.2f} ×, needed {limit}")


def _image(port: int) -> str:
    fields = {"name": "x", "disk_format": "raw", "container_format": "bare"}
    return str(Client(port).call("POST", "/v2/images", fields)["self"])


def _upload(server: Served, size: int, chunked: bool) -> Sample:
    path = _image(server.port)
    taken = sample(lambda: send(server.port, f"{path}/file", size, chunked=chunked), server.pid)
    Client(server.port).call("DELETE", path)
    return taken


def uploads(folder: Path, size: int, rounds: int, report: Report) -> None:
    """Compare uploads with the raw server and the hashes alone."""
    with ExitStack() as stack:
        port, pid = stack.enter_context(raw_server(folder))
        discarding = stack.enter_context(served(folder / "discarding", discard=True))
        keeping = stack.enter_context(served(folder / "keeping"))
        turns: Mapping[str, Callable[[int], Sample]] = {
            "the two hashes alone": hash_alone,
            "raw server": lambda size: sample(lambda: send(port, "/", size), pid),
            "upload, discarding": lambda size: _upload(discarding, size, False),
            "upload, discarding, chunked": lambda size: _upload(discarding, size, True),
            "upload, file store": lambda size: _upload(keeping, size, False),
            "upload, file store, chunked": lambda size: _upload(keeping, size, True),
        }
        found = _rounds(turns, size, rounds)
    measured = {name: report.line(name, samples, size) for name, samples in found.items()}
    hashes, raw = measured["the two hashes alone"][1], measured["raw server"][0]
    for name, (rate, cpu) in list(measured.items())[2:]:
        discarded = "discarding" in name
        if discarded:
            report.hold(f"{name}, rate to the raw server's", rate / raw, least=_RATE)
        else:
            # The raw server writes nothing; what writing may cost of the two cores is limited below.
            print(f"    {name}, rate to the raw server's: {rate / raw:.2f} ×", flush=True)
        report.hold(f"{name}, CPU to the hashes'", cpu / hashes, most=_CPU_DISCARDING if discarded else _CPU_FILE)


def downloads(folder: Path, size: int, rounds: int, report: Report) -> None:
    """Compare downloads with nginx's of the same file."""
    with ExitStack() as stack:
        server = stack.enter_context(served(folder / "downloads"))
        image = _image(server.port)
        send(server.port, f"{image}/file", size)
        stored = next((folder / "downloads" / "stores" / "main").iterdir())
        stored.read_bytes()  # into the page cache
        port, pids = free_port(), set(usage.family(os.getpid()))
        http = f"sendfile on; tcp_nopush on; server {{ listen 127.0.0.1:{port}; root {stored.parent}; }}"
        stack.enter_context(nginx(http, port=port))
        pid = min(set(usage.family(os.getpid())) - pids)
        for streams in (1, 4):

            def ours(size: int, streams: int = streams) -> Sample:
                return sample(lambda: at_once(streams, lambda: receive(server.port, f"{image}/file")), server.pid)

            def theirs(size: int, streams: int = streams) -> Sample:
                return sample(lambda: at_once(streams, lambda: receive(port, f"/{stored.name}")), pid)

            found = _rounds({"nginx": theirs, "download": ours}, size, rounds)
            name = f"{streams} stream{'s' if streams > 1 else ''}"
            rate, cpu = report.line(f"download, {name}", found["download"], size * streams)
            rate_of_nginx, cpu_of_nginx = report.line(f"nginx, {name}", found["nginx"], size * streams)
            report.hold(f"download, {name}, rate to nginx's", rate / rate_of_nginx, least=_DOWNLOAD_RATE)
            report.hold(f"download, {name}, CPU to nginx's", cpu / cpu_of_nginx, most=_DOWNLOAD_CPU)


def _rounds(turns: Mapping[str, Callable[[int], Sample]], size: int, rounds: int) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {name: [] for name in turns}
    for turn in range(-1, rounds):  # one to warm up
        for name, work in turns.items():
            taken = work(size)
            if turn >= 0:
                found[name].append(taken)
    return found


def parallel_memory(folder: Path, size: int, report: Report, count: int = 10) -> None:
    """Measure the memory of the processes that take ten uploads at once, beyond what they have when idle."""
    with served(folder / "memory") as server:
        paths = iter([_image(server.port) for _ in range(count)])
        pids = usage.family(server.pid)
        for pid in pids:
            usage.forget_peak(pid)
        idle = sum(usage.memory(pid) for pid in pids)
        at_once(count, lambda: send(server.port, f"{next(paths)}/file", size))
        grown = sum(usage.peak_memory(pid) for pid in pids) - idle
    print(
        f"{count} uploads of {size // MIB} MiB at once: {idle / MIB:.0f} MiB idle, {grown / MIB:.0f} MiB more at most"
    )
    report.hold("memory beyond idle, to the budget", grown / _BUDGET, most=1)


def main() -> int:
    """Measure, print, and say by the exit status whether everything holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, help="of an image, MiB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("TMPDIR", "/var/tmp")))
    options = parser.parse_args()
    size, report = options.size * MIB, Report()
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=options.folder) as name:
        folder = Path(name)
        folder.chmod(0o711)  # nginx's workers pass through
        for part in options.only or PARTS:
            if part == "upload":
                uploads(folder, size, options.rounds, report)
            elif part == "download":
                downloads(folder, size, options.rounds, report)
            else:
                parallel_memory(folder, size, report)
    for missed in report.missed:
        print(f"MISSED: {missed}")
    return 1 if report.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
