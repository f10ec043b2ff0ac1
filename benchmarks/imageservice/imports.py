"""What an import costs beside its parts done alone: ``python -m benchmarks.imageservice.imports``.

The yardstick is what has to be done in any case: fetch the image with curl, convert it with qemu-img, hash the result
with two threads, write it down. Both take turns and medians are compared, so that what else the machine does weighs on
both alike. ``--size`` in MiB is that of the disk in the QCOW2 image; ``--only`` picks a part.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks import figures
from benchmarks.imageservice import usage
from benchmarks.imageservice.raw_server import Hashing
from tests.environments.imageservice import ImageService, image_service

MIB = 1 << 20
PARTS = ("one", "three", "sparse", "many")
STORES = ("one", "two", "three")
_LIMITS = {"one": 1.3, "three": 2.0, "sparse": 1.3}
_WRITTEN = 1.1
_MANY = 20


@dataclass(frozen=True)
class Cost:
    """What something took: seconds, bytes that were written, seconds of processors."""

    seconds: float
    written: int
    cpu: float


class _Files(BaseHTTPRequestHandler):
    """Sends a file, by the kernel."""

    protocol_version = "HTTP/1.1"
    folder: Path

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        with (self.folder / Path(self.path).name).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            self.send_response(200)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            self.wfile.flush()
            offset = 0
            while offset < size:
                offset += os.sendfile(self.connection.fileno(), file.fileno(), offset, min(size - offset, 16 * MIB))


def serve_files(folder: str, port: int) -> None:
    """Run the web server, in a process of its own."""
    _Files.folder = Path(folder)
    ThreadingHTTPServer(("127.0.0.1", port), _Files).serve_forever()


@contextmanager
def origin(folder: Path) -> Iterator[str]:
    """Provide a web server with the files of ``folder``; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    words = [sys.executable, "-c", f"from {__spec__.name} import serve_files as s; s({str(folder)!r}, {port})"]
    with subprocess.Popen(words) as child:
        try:
            for _ in range(200):
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            child.terminate()


def make_disk(path: Path, size: int, *, spread: int = 0) -> None:
    """Write a raw disk of ``size`` bytes that cannot be compressed, evenly over ``spread`` bytes where that is more."""
    pieces = size // (4 * MIB)
    step = max(spread, size) // pieces
    with path.open("wb") as file:
        for number in range(pieces):
            file.seek(number * step)
            file.write(os.urandom(4 * MIB))
        file.truncate(max(spread, size))


def written_by(pids: list[int]) -> int:
    """Bytes that processes, and the children they have waited for, have given to the disk."""
    total = 0
    for pid in pids:
        try:
            found = re.search(r"^write_bytes: (\d+)$", Path(f"/proc/{pid}/io").read_text(), re.MULTILINE)
        except OSError:
            continue
        total += int(found[1]) if found else 0
    return total


def hash_file(path: Path) -> None:
    """MD5 and SHA-512, each in a thread."""
    hashing = Hashing()
    with path.open("rb") as file:
        while data := file.read(MIB):
            hashing.put(memoryview(data))
    hashing.finish()


def alone(folder: Path, url: str) -> Cost:
    """Fetch, convert, hash; each after the other, with nothing around it."""
    before, start = os.times(), time.perf_counter()
    fetched, raw = folder / "alone.qcow2", folder / "alone.raw"
    subprocess.run(["curl", "-s", "-f", "-o", fetched, url], check=True)
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", "-W", "-m", "8", fetched, raw], check=True)
    hash_file(raw)
    for path in (fetched, raw):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    seconds, after = time.perf_counter() - start, os.times()
    cpu = sum(after[:4]) - sum(before[:4])
    size = fetched.stat().st_size + raw.stat().st_blocks * 512
    fetched.unlink()
    raw.unlink()
    return Cost(seconds, size, cpu)


def receive_and_hash(url: str) -> float:
    """Seconds to receive everything at a URL and to hash it with two threads."""
    start = time.perf_counter()
    hashing = Hashing()
    with subprocess.Popen(["curl", "-s", "-f", url], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        while data := child.stdout.read(MIB):
            hashing.put(memoryview(data))
    hashing.finish()
    return time.perf_counter() - start


def ask(service: ImageService, url: str, stores: list[str], disk_format: str) -> str:
    """Begin an import; the image's id."""
    image_id = service.create("admin", disk_format=disk_format)
    body = {"method": {"name": "web-download", "uri": url}, "stores": stores}
    answer = service.request("POST", f"/v2/images/{image_id}/import", "admin", json=body)
    answer.raise_for_status()
    return image_id


def wait(service: ImageService, image_ids: list[str]) -> list[float]:
    """Wait until images are active; when each was, in the clock's seconds."""
    ends: dict[str, float] = {}
    while len(ends) < len(image_ids):
        for image_id in set(image_ids) - ends.keys():
            shown = service.show(image_id, "admin")
            if "os_glance_import_task" not in shown:
                if shown["status"] != "active":
                    tasks = service.request("GET", f"/v2/images/{image_id}/tasks", "admin").json()["tasks"]
                    raise RuntimeError(f"the import failed: {tasks[0]['message']}")
                ends[image_id] = time.perf_counter()
        time.sleep(0.05)
    return sorted(ends.values())


def imported(service: ImageService, url: str, stores: list[str], disk_format: str) -> Cost:
    """One import, and what it cost."""
    pids = usage.family(service.child.pid)
    before, wrote, start = usage.cpu(pids), written_by(pids), time.perf_counter()
    image_id = ask(service, url, stores, disk_format)
    wait(service, [image_id])
    cost = Cost(time.perf_counter() - start, written_by(pids) - wrote, usage.cpu(pids) - before)
    service.request("DELETE", f"/v2/images/{image_id}", "admin").raise_for_status()
    return cost


@contextmanager
def running(folder: Path, *plugins: str) -> Iterator[ImageService]:
    """Provide the service with three stores in ``folder``."""
    folder.mkdir()
    stores = [{"id": name, "directories": [str(folder / "stores" / name)]} for name in STORES]
    fetch = {"allowed_networks": ["127.0.0.1/32"], "allowed_ports": [], "disallowed_ports": [22]}
    imports = {"plugins": list(plugins)}
    data = {"upload_lease": 60}
    with image_service(folder, stores=stores, fetch=fetch, imports=imports, data=data) as service:
        yield service


class Report:
    """Prints what was measured and remembers what was missed."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def hold(self, what: str, value: float, most: float) -> None:
        """Print a ratio, and whether it is within what is demanded."""
        figures.note(what, value, "×", most=most)
        print(f"    {what}: {value:.2f} × (needed ≤ {most})", flush=True)
        if value > most:
            self.missed.append(f"{what}: {value:.2f} ×, needed ≤ {most}")


def _middle(values: list[Cost], of: Callable[[Cost], float]) -> float:
    return statistics.median(of(value) for value in values)


def converting(folder: Path, url: str, parts: list[str], rounds: int, report: Report) -> None:
    """Import a QCOW2 image from the web, kept as raw in one store and in three."""
    size = (folder / "web" / "disk.qcow2").stat().st_size
    url = f"{url}/disk.qcow2"
    costs: dict[str, list[Cost]] = {"alone": [], **{part: [] for part in parts}}
    with running(folder / "service", "image_conversion") as service:
        for _ in range(rounds):
            costs["alone"].append(alone(folder, url))
            for part in parts:
                stores = list(STORES[: 3 if part == "three" else 1])
                costs[part].append(imported(service, url, stores, "qcow2"))
        peak = max(usage.peak_memory(pid) for pid in usage.family(service.child.pid))
    base = _middle(costs["alone"], lambda cost: cost.seconds)
    for name, values in costs.items():
        seconds, written, cpu = (_middle(values, of) for of in (_seconds, _written, _cpu))
        figures.note(f"{name}, time", seconds, "s", n=len(values))
        figures.note(f"{name}, CPU", cpu, "s", n=len(values))
        print(f"{name:<8}{seconds:>7.1f} s {written / (1 << 30):>6.2f} GiB written {cpu:>6.1f} CPU-s", flush=True)
        if name != "alone":
            copies = 3 if name == "three" else 1
            report.hold(f"time into {name}", seconds / base, _LIMITS[name])
            report.hold(f"written into {name}", written / (size * (1 + copies)), _WRITTEN)
    print(f"    most memory of a process: {peak / MIB:.0f} MiB", flush=True)


def _seconds(cost: Cost) -> float:
    return cost.seconds


def _written(cost: Cost) -> float:
    return cost.written


def _cpu(cost: Cost) -> float:
    return cost.cpu


def sparse(folder: Path, url: str, disk: int, report: Report) -> None:
    """Import a raw disk that is mostly holes, which come as zeros over the wire."""
    make_disk(folder / "web" / "sparse.raw", disk // 40, spread=disk)
    hashed = receive_and_hash(f"{url}/sparse.raw")
    with running(folder / "sparse") as service:
        cost = imported(service, f"{url}/sparse.raw", ["one"], "raw")
    data = disk // 40
    print(
        f"sparse  {hashed:>7.1f} s to receive and hash {disk >> 30} GiB; imported in {cost.seconds:.1f} s", flush=True
    )
    report.hold("time of the sparse disk", cost.seconds / hashed, _LIMITS["sparse"])
    report.hold("written of the sparse disk", cost.written / (2 * data), _WRITTEN)


def many(folder: Path, url: str, report: Report) -> None:
    """Twenty imports at once."""
    make_disk(folder / "web" / "small.raw", 64 * MIB)
    with running(folder / "many") as service:
        start = time.perf_counter()
        ids = [ask(service, f"{url}/small.raw", list(STORES), "raw") for _ in range(_MANY)]
        ends = [end - start for end in wait(service, ids)]
        peak = max(usage.peak_memory(pid) for pid in usage.family(service.child.pid))
    print(f"{_MANY} imports of 64 MiB into three stores: all ended, the first after {ends[0]:.1f} s,", flush=True)
    print(f"    the last after {ends[-1]:.1f} s; most memory of a process: {peak / MIB:.0f} MiB", flush=True)


def main() -> int:
    """Measure and print; 1 when something demanded was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="MiB of data in the disk to convert")
    parser.add_argument("--sparse", type=int, default=40, help="GiB of the sparse disk")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", choices=PARTS)
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    given = parser.parse_args()
    parts, report = given.only or list(PARTS), Report()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="imports-", dir=given.folder)))
        (folder / "web").mkdir()
        url = stack.enter_context(origin(folder / "web"))
        if converted := [part for part in parts if part in ("one", "three")]:
            make_disk(folder / "disk.raw", given.size * MIB)
            words = ["qemu-img", "convert", "-O", "qcow2", str(folder / "disk.raw"), str(folder / "web" / "disk.qcow2")]
            subprocess.run(words, check=True)
            (folder / "disk.raw").unlink()
            converting(folder, url, converted, given.rounds, report)
            (folder / "web" / "disk.qcow2").unlink()
        if "sparse" in parts:
            sparse(folder, url, given.sparse << 30, report)
        if "many" in parts:
            many(folder, url, report)
    for line in report.missed:
        print(f"MISSED {line}")
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
