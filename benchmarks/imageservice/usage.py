"""What a server's processes have used so far, as the kernel counts it."""

from __future__ import annotations

import os
import re
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """Return a process and everything that descends from it."""
    found = [pid]
    for one in found:
        for listed in Path(f"/proc/{one}/task").glob("*/children"):
            found.extend(int(child) for child in listed.read_text().split())
    return found


def cpu(pids: list[int]) -> float:
    """Processor seconds of these processes together, in user and kernel mode."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def peak_memory(pid: int) -> int:
    """Return the most memory a process has had since ``forget_peak``, in bytes."""
    return _status(pid, "VmHWM")


def memory(pid: int) -> int:
    """Return the memory a process has now, in bytes."""
    return _status(pid, "VmRSS")


def forget_peak(pid: int) -> None:
    """Begin to look for the peak anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"process {pid} does not tell its {name}")
    return int(found[1]) << 10
