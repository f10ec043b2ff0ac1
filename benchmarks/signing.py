"""Signing against mere hashing: the same digests of the same file in parallel, in the same run.

    python benchmarks/signing.py [--gib 10] [--rounds 3] [--folder /var/tmp]

Each pass is a process of its own, hashing and signing in turns; medians are compared. Signing must take at most 1.1
times as long as hashing, at most 64 MiB of memory, and read the file once. The file has random bytes up to ``--data``
GiB and is a hole behind that, so that it fits into a small disk: hashing takes as long for zeros.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import figures
from pipeline.base.home import CHECKOUT, Home
from pipeline.image.digests import USUAL, digest_file
from pipeline.image.formats import FormatTap
from pipeline.signing import image_signature
from pipeline.signing.keys.keyring import Keyring
from pipeline.signing.trust.kinds import HashMethod

GIB = 1 << 30
MAX_RATIO, MAX_MEMORY = 1.1, 64 << 20


@dataclass(frozen=True)
class Pass:
    """One pass over the file: seconds, the most memory the process ever had, bytes it read of the file."""

    seconds: float
    memory: int
    read: int


def hashing(image: Path, home: Home) -> Callable[[], object]:
    """Compute the digests."""
    return lambda: digest_file(image, {*USUAL, HashMethod.SHA256.algorithm})


def signing(image: Path, home: Home) -> Callable[[], object]:
    """Compute the digests, inspect the format and sign, as ``./inv sign`` does."""
    signer = Keyring(home, passphrases=lambda _: None).signer("default")
    return lambda: image_signature.sign(image, signer, HashMethod.SHA256, taps=[FormatTap().feed])


WORK = {"hash": hashing, "sign": signing}


def one(kind: str, folder: Path) -> None:
    """Do one pass in this process and print it as JSON."""
    work = WORK[kind](folder / "image", Home(folder / "home", folder / "cache"))
    before, began = _read(), time.perf_counter()
    work()
    print(json.dumps(asdict(Pass(time.perf_counter() - began, _peak(), _read() - before))))


def _read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def _peak() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


def measure(kind: str, folder: Path) -> Pass:
    """One pass in a fresh process."""
    words = [sys.executable, __file__, "--one", kind, "--folder", str(folder)]
    finished = subprocess.run(
        words, check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(CHECKOUT)}
    )
    return Pass(**json.loads(finished.stdout))


def write(image: Path, gib: float, data: float) -> None:
    """Make the file."""
    with image.open("wb") as file:
        for _ in range(int(min(gib, data) * GIB) // (16 << 20)):
            file.write(os.urandom(16 << 20))
        file.truncate(int(gib * GIB))
        file.flush()
        os.fsync(file.fileno())


def compare(gib: float, rounds: int, data: float, location: Path) -> bool:
    """Measure and print; whether all limits were kept."""
    with tempfile.TemporaryDirectory(dir=location, prefix="signing-") as name:
        folder = Path(name)
        write(folder / "image", gib, data)
        for kind in WORK:  # the key is made, the file is in the page cache as far as it fits
            measure(kind, folder)
        found: dict[str, list[Pass]] = {kind: [] for kind in WORK}
        for _ in range(rounds):
            for kind, passes in found.items():
                passes.append(measure(kind, folder))
    hashed, signed = (statistics.median(each.seconds for each in found[kind]) for kind in ("hash", "sign"))
    memory = {kind: max(each.memory for each in passes) for kind, passes in found.items()}
    read = max(each.read for each in found["sign"]) / (gib * GIB)
    ratio = signed / hashed
    figures.note("hashing", hashed, "s", n=rounds)
    figures.note("signing", signed, "s", n=rounds)
    figures.note("signing to hashing", ratio, "×", n=rounds, most=MAX_RATIO)
    figures.note("memory of the signing process", memory["sign"], "bytes", n=rounds, most=MAX_MEMORY)
    figures.note("reads of each byte", read, "×", n=rounds, most=1.01)
    print(f"{gib:g} GiB, {rounds} rounds: hashing {hashed:.2f} s, signing {signed:.2f} s, ratio {ratio:.3f}")
    told = ", ".join(f"{kind} {most / 2**20:.1f} MiB" for kind, most in memory.items())
    print(f"memory of the whole process: {told}")
    print(f"bytes read for each byte of the file: {read:.4f}")
    return ratio <= MAX_RATIO and memory["sign"] <= MAX_MEMORY and read < 1.01


def main() -> None:
    """Measure and print; end with 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=10.0)
    parser.add_argument("--data", type=float, default=4.0, help="GiB of random bytes in it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"))
    parser.add_argument("--one", choices=WORK, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        one(asked.one, asked.folder)
    else:
        raise SystemExit(not compare(asked.gib, asked.rounds, asked.data, asked.folder))


if __name__ == "__main__":
    main()
