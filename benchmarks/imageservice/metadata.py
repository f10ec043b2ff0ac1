"""How fast small requests are answered: ``python -m benchmarks.imageservice.metadata``.

One client with a kept connection and a static token. The yardstick is a trivial JSON handler on the same server, in the
same run; rounds are interleaved and medians compared, so that what else the machine does weighs on all alike. Pages are
timed among 1,000, 10,000 and (``--large``) 1,000,000 images, each in a database of its own.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks import figures
from benchmarks.imageservice.filling import fill
from benchmarks.imageservice.serving import Client, served

PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
FIELDS = {"name": "x", "disk_format": "raw", "container_format": "bare", "os_distro": "debian", "os_version": "12"}
NEEDED = {"GET one": 0.3, "POST": 0.1, "PATCH": 0.08}
CALLERS = {"administrator": "token-of-admin", "owner of few": "token-of-few"}
_WALK = 7.9 / 8  # seconds; the reference takes 7.9
_WALKS = 5
_QUIET = 1600  # of the yardstick, each second: below that, absolute times say more of the machine than of us
_WARM = 10  # requests of each kind before any is timed
FILTERS = {"no filter": "", "common property": "&common=yes", "rare property": "&rare=yes", "absent": "&rare=never"}


def rate(call: Callable[[], object], seconds: float) -> float:
    """How often a second."""
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        call()
        count += 1
    return count / (time.perf_counter() - start)


def rates(port: int, rounds: int, seconds: float) -> Mapping[str, float]:
    """Medians over interleaved rounds."""
    client = Client(port)
    path = client.call("POST", "/v2/images", FIELDS)["self"]

    def patch() -> None:
        client.call("PATCH", path, [{"op": "replace", "path": "/os_version", "value": str(uuid.uuid4())}], **PATCH)

    calls: dict[str, Callable[[], object]] = {
        "trivial": lambda: client.call("GET", "/trivial"),
        "GET one": lambda: client.call("GET", path),
        "POST": lambda: client.call("POST", "/v2/images", FIELDS),
        "PATCH": patch,
    }
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            found[name].append(rate(call, seconds))
    return {name: statistics.median(values) for name, values in found.items()}


def pages(ports: Mapping[int, int], rounds: int) -> Mapping[tuple[str, str], Mapping[int, float]]:
    """Milliseconds for a first page of 20 by caller and filter, for each number of images; medians, interleaved."""
    clients = {count: Client(port) for count, port in ports.items()}
    found: dict[tuple[str, str], dict[int, list[float]]] = {}
    for turn in range(-_WARM, rounds):
        for caller, token in CALLERS.items():
            for name, query in FILTERS.items():
                for count, client in clients.items():
                    start = time.perf_counter()
                    client.call("GET", f"/v2/images?limit=20{query}", token=token)
                    seconds = time.perf_counter() - start
                    if turn >= 0:
                        found.setdefault((caller, name), {}).setdefault(count, []).append(seconds * 1000)
    return {
        key: {count: statistics.median(values) for count, values in by_count.items()} for key, by_count in found.items()
    }


def walk(port: int, limit: int = 100) -> tuple[int, float]:
    """All images, page by page: how many, and the seconds it took."""
    client = Client(port)
    start, count, path = time.perf_counter(), 0, f"/v2/images?limit={limit}"
    while path:
        page = client.call("GET", path)
        count += len(page["images"])
        path = page.get("next", "")
    return count, time.perf_counter() - start


def main() -> int:
    """Measure, print, and say by the exit status whether everything holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each measurement")
    parser.add_argument("--large", action="store_true", help="also among 1,000,000 images")
    options = parser.parse_args()
    counts = [1_000, 10_000, *([1_000_000] if options.large else [])]
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        _measure(Path(folder), counts, options, failures)
    for failure in failures:
        print(f"MISSED: {failure}")
    return 1 if failures else 0


def _measure(folder: Path, counts: list[int], options: argparse.Namespace, failures: list[str]) -> None:
    with ExitStack() as stack:
        ports: dict[int, int] = {}
        for count in counts:
            server = stack.enter_context(served(folder / str(count)))
            start = time.monotonic()
            fill(server.service.database, count)
            print(f"{count:>9,} images made in {time.monotonic() - start:.0f} s", flush=True)
            ports[count] = server.port
        # Before the rates, which add images to the smallest catalog.
        _compare_pages(pages(ports, options.rounds * 5), failures)
        walks = [walk(ports[10_000]) for _ in range(_WALKS)]
        count, seconds = walks[0][0], statistics.median(seconds for _, seconds in walks)
        found = rates(ports[1_000], options.rounds, options.seconds)
        for name, value in found.items():
            share = value / found["trivial"]
            figures.note(name, value, "1/s", n=options.rounds)
            figures.note(f"{name} to trivial", share, "×", n=options.rounds, least=NEEDED.get(name))
            print(f"{name:<10}{value:>8.0f}/s {share:>6.2f} ×  (needed {NEEDED.get(name, 1):.2f})")
            if name in NEEDED and share < NEEDED[name]:
                failures.append(f"{name} is {share:.3f} × the yardstick, needed {NEEDED[name]}")
        quiet = found["trivial"] >= _QUIET
        figures.note(f"a walk over {count:,} images", seconds, "s", n=_WALKS, most=_WALK if quiet else None)
        print(f"a walk over {count:,} images: {seconds:.2f} s (needed {_WALK:.2f}{'' if quiet else ' when quiet'})")
        if seconds > _WALK and quiet:
            failures.append(f"the walk takes {seconds:.2f} s")
        if not quiet:
            print(f"the walk's time was not judged: the yardstick makes {_QUIET}/s or more on a quiet machine")


def _compare_pages(found: Mapping[tuple[str, str], Mapping[int, float]], failures: list[str]) -> None:
    needed = {10_000: 1.3, 1_000_000: 1.5}
    for (caller, name), by_count in found.items():
        base = by_count[1_000]
        shown = "  ".join(f"{count:,}: {value:.2f} ms ({value / base:.2f} ×)" for count, value in by_count.items())
        print(f"page of 20, {caller}, {name}: {shown}")
        for count, value in by_count.items():
            figures.note(
                f"page of 20 among {count:,}, {caller}, {name}", value, "ms", most=base * needed.get(count, 99)
            )
            if value / base > needed.get(count, 99):
                failures.append(f"{caller}, {name}: a page among {count:,} takes {value / base:.2f} × that among 1,000")


if __name__ == "__main__":
    raise SystemExit(main())
