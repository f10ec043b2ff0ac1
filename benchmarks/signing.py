"""Signing against mere hashing: the same digests, the same file, the same run.

    python benchmarks/signing.py [GIB]

Signing must take at most 1.1 times as long as computing its digests in parallel, within 64 MiB of memory beyond the
interpreter's own.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from pipeline.base.home import Home
from pipeline.image.digests import USUAL, digest_file
from pipeline.image.formats import FormatTap
from pipeline.signing import image_signature
from pipeline.signing.keyring import Keyring
from pipeline.signing.kinds import HashMethod

ROUNDS = 3


def seconds(work: object) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - began


def memory() -> int:
    """The most memory this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def main() -> None:
    """Measure and print; end with 1 when a limit is missed."""
    gib = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        image = Path(folder) / "image"
        block = os.urandom(64 << 20)
        with image.open("wb") as file:
            for _ in range(int(gib * 1024) // 64):
                file.write(block)
        signer = Keyring(Home(Path(folder) / "home", Path(folder) / "cache"), passphrases=lambda _: None).signer("k")
        before = memory()
        hashed, signed = [], []
        for _ in range(ROUNDS):
            hashed.append(seconds(lambda: digest_file(image, {*USUAL, "sha256"})))
            # As the build does it: inspected in the same pass.
            signed.append(
                seconds(lambda: image_signature.sign(image, signer, HashMethod.SHA256, taps=[FormatTap().feed]))
            )
        used = memory() - before
    plain, sealed = statistics.median(hashed), statistics.median(signed)
    ratio = sealed / plain
    print(f"{gib:g} GiB: hashing {plain:.2f} s, signing {sealed:.2f} s, ratio {ratio:.3f}")
    print(f"memory beyond the start: {used / (1 << 20):.1f} MiB")
    raise SystemExit(ratio > 1.1 or used > 64 << 20)


if __name__ == "__main__":
    main()
