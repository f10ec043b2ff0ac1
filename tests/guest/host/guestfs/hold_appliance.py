"""Launch an appliance, say the process id of its hypervisor, and hold it: for tests that kill us."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from pipeline.host.guestfs.appliance import Appliance, Drive

if __name__ == "__main__":
    folder, cache = Path(sys.argv[1]), Path(sys.argv[2])
    disk = folder / "disk"
    disk.write_bytes(bytes(1 << 20))
    with (
        (folder / "log").open("wb") as log,
        Appliance("tcg", cache, folder, log).launched([Drive(disk, "raw")]) as handle,
    ):
        print(handle.get_pid(), flush=True)
        time.sleep(600)
