"""How fast the files of an image come out of libguestfs's appliance, beside its own tar_out in the same launch.

    python -m benchmarks.guest_files [--mebibytes N] [--rounds N]

The file system is made: some 40 files a MiB, most of them small, as in an installed Linux. Nothing of it is in the
appliance's memory when a reading begins, and nothing is done with the bytes. The processor is emulated, whatever the
machine has. Ends with 1 when tar_out does not take so many times the processor's seconds as it has to.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import figures
from pipeline.host.guestfs import tar_stream
from pipeline.host.guestfs.appliance import Appliance, Drive

LIMIT = 1.8
FILES = 40  # in a MiB
FOLDER = 200  # files
TICKS = os.sysconf("SC_CLK_TCK")


def make(disk: Path, mebibytes: int) -> None:
    """Write an ext4 file system with ``mebibytes`` of files."""
    chance = random.Random(1)
    sizes = [chance.lognormvariate(8, 2) for _ in range(mebibytes * FILES)]
    scale = (mebibytes << 20) / sum(sizes)
    with tempfile.TemporaryDirectory(dir=disk.parent) as tree:
        for number, size in enumerate(sizes):
            folder = Path(tree, str(number // FOLDER))
            folder.mkdir(exist_ok=True)
            (folder / str(number)).write_bytes(chance.randbytes(int(size * scale)))
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, disk, f"{mebibytes * 3 // 2}M"], check=True)


def seconds(pid: int) -> float:
    """Return what the appliance's hypervisor and this process have used of processors."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS + time.process_time()


def measure(handle: Any, read: Callable[[], None]) -> tuple[float, float]:
    """Seconds on the clock and of processors that one reading takes."""
    handle.drop_caches(3)
    used, begun = seconds(handle.get_pid()), time.perf_counter()
    read()
    return time.perf_counter() - begun, seconds(handle.get_pid()) - used


def main() -> int:
    """Measure, then show the figures; return the status to exit with."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--mebibytes", type=int, default=500)
    asked.add_argument("--rounds", type=int, default=3)
    options = asked.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="guest-files-"))
    try:
        disk = folder / "disk.raw"
        make(disk, options.mebibytes)
        with (folder / "log").open("wb") as log:
            appliance = Appliance("tcg", folder / "cache", folder, log)
            with appliance.launched([Drive(disk, "raw", read_only=True)]) as handle:
                handle.mount_ro("/dev/sda", "/")
                ways: dict[str, Callable[[], None]] = {
                    "tar_out": lambda: handle.tar_out("/", "/dev/null", numericowner=True),
                    "tar_stream": lambda: tar_stream.save(handle, folder, Path("/dev/null")),
                }
                rounds = [{name: measure(handle, read) for name, read in ways.items()} for _ in range(options.rounds)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for name in ways:
        clock, used = (statistics.median(each[name][part] for each in rounds) for part in (0, 1))
        figures.note(f"{name}, processors", used, "s", n=options.rounds)
        print(f"{name}: {clock:.1f} s, {used:.1f} s of processors, {options.mebibytes / used:.0f} MiB for each of them")
    ratio = statistics.median(each["tar_out"][1] / each["tar_stream"][1] for each in rounds)
    figures.note("tar_out to tar_stream, processors", ratio, "×", n=options.rounds, least=LIMIT)
    print(f"tar_out / tar_stream: {ratio:.2f} (at least {LIMIT})")
    return int(ratio < LIMIT)


if __name__ == "__main__":
    raise SystemExit(main())
