"""Start a guest, say its process id, and hold it: for tests that kill us."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from pipeline.host.qemu import command as qemu_command
from pipeline.host.qemu import guest

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    disk = folder / "disk"
    # A boot sector that loops for ever: it says nothing and never obeys.
    disk.write_bytes(b"\xeb\xfe".ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
    with guest.running(
        qemu_command.Machine("held", "tcg", disks=[qemu_command.GuestDisk(disk, "raw")]), folder
    ) as running:
        print(running.pid, flush=True)
        time.sleep(600)
