"""Writing and reading images: our stores beside the reference's library, on one back end, in turns.

    python -m benchmarks.stores.compare SITE [--size MIB] [--data random|sparse] [--repeat N] [--fetch]

Sites: file, s3, swift, swift-relayed, rbd, rbd-in-memory. Both programs compute md5 and sha512 of what they write and
read it from a file in memory; a fetch is of an image of 1 KiB, as whole as a client gets it. Medians of N turns.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from benchmarks import figures
from benchmarks.stores.sites import SITES, Site
from pipeline.imageservice.data.sources import FromStream
from pipeline.imageservice.data.taps import DigestTap
from pipeline.imageservice.data.transfer import transfer
from tests.environments.daemon import scratch

MIB = 1 << 20


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.stores.compare")
    parser.add_argument("site", choices=SITES)
    parser.add_argument("--size", type=int, default=256, help="MiB of an image")
    parser.add_argument("--data", choices=("random", "sparse"), default="random")
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--fetch", action="store_true", help="measure fetching 1 KiB instead of writing")
    parser.add_argument("--memory", type=Path, default=Path("/dev/shm"), help="a folder in memory")
    given = parser.parse_args()
    with scratch("compare") as folder:
        work = given.memory / folder.name if given.memory.is_dir() else folder
        work.mkdir(exist_ok=True)
        try:
            _compare(given, folder if given.site != "file" else work, work / "image")
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _compare(given: argparse.Namespace, folder: Path, image: Path) -> None:
    with SITES[given.site](folder) as site:
        if given.fetch:
            image.write_bytes(b"x" * 1024)
            what, ours, theirs = "fetch 1 KiB", *_fetches(site, image)
        else:
            make_image(image, given.size, sparse=given.data == "sparse")
            what = f"write {given.size} MiB, {given.data}"
            ours, theirs = (lambda: _write_ours(site, image)), (lambda: _write_theirs(site, image))
        found = in_turns(ours, theirs, given.repeat)
    a, b = (statistics.median(times) for times in found)
    for who, value in (("ours", a), ("reference", b)):
        figures.note(f"{given.site}, {what}: {who}", value, "s", n=given.repeat)
    scale, unit = (1000, "ms") if given.fetch else (1, "s")
    print("| site | what | ours | reference | reference / ours | turns |\n|---|---|---|---|---|---|")
    shown = [
        f"{value * scale:.2f} {unit} ({min(times) * scale:.2f})" for value, times in zip((a, b), found, strict=True)
    ]
    print(f"| {given.site} | {what} | {shown[0]} | {shown[1]} | {b / a:.2f} | {given.repeat} |", flush=True)


def make_image(path: Path, size: int, *, sparse: bool) -> None:
    """``size`` MiB of random bytes; when ``sparse``, of every 64 MiB only 7 hold any."""
    with Path("/dev/urandom").open("rb") as noise, path.open("wb") as file:
        for number in range(size):
            if sparse and number % 64 >= 7:
                file.write(bytes(MIB))
            else:
                file.write(noise.read(MIB))


def in_turns(ours: Callable[[], float], theirs: Callable[[], float], repeat: int) -> tuple[list[float], list[float]]:
    """Seconds of ``repeat`` turns each, after one that does not count; who begins changes with every turn."""
    found: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeat + 1):
        for number in (0, 1) if turn % 2 else (1, 0):
            seconds = (ours, theirs)[number]()
            if turn:
                found[number].append(seconds)
    return found


def _write_ours(site: Site, image: Path) -> float:
    size = image.stat().st_size
    with image.open("rb", buffering=0) as file:
        begun = time.perf_counter()
        with site.ours.writer(str(uuid.uuid4()), size=size, attempt=uuid.uuid4().hex) as writer:
            digests = [DigestTap("md5"), DigestTap("sha512")]
            transfer(FromStream(file, size), [writer], site.buffers, taps=digests)
            stored = writer.commit()
        seconds = time.perf_counter() - begun
    site.ours.delete(stored.uri)
    return seconds


def _write_theirs(site: Site, image: Path) -> float:
    added = site.theirs.add(str(uuid.uuid4()), image, size=image.stat().st_size if site.tell_size else None)
    site.theirs.delete(added.uri)
    return added.seconds


def _fetches(site: Site, image: Path) -> tuple[Callable[[], float], Callable[[], float]]:
    uri = site.theirs.add(str(uuid.uuid4()), image, size=1024).uri
    if not site.ours.owns(uri):  # file stores have a folder each
        raise SystemExit("nothing to compare")

    def ours() -> float:
        begun = time.perf_counter()
        with site.ours.reader(uri) as reader:
            while reader.read(MIB):
                pass
        return time.perf_counter() - begun

    return ours, lambda: site.theirs.get(uri)


if __name__ == "__main__":
    main()
