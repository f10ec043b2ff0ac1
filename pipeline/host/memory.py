"""How much memory programs can still have on this machine."""

from __future__ import annotations

from pathlib import Path


def available() -> int:
    """Bytes that programs can still have without swapping: the machine's, or less if a control group says so."""
    available = 0
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) << 10
    return min([available, *_group_limits()])


def _group_limits() -> list[int]:
    """What the control group (version 2) leaves, if it has a limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
    except (OSError, ValueError):
        return []
    return [int(limit) - used] if limit.isdigit() else []
