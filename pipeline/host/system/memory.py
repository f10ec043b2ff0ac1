"""Measure how much memory programs can still have: this machine's, or what a control group leaves of it.

A service's limit (``MemoryMax=``) stands in its own group, a container's in the one that looks like the root; each
group above may have a lower one. What a group uses includes the files it has read and written, which the kernel
drops as soon as programs need the room.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class _Version:
    """How a version of control groups calls things."""

    limit: str
    used: str
    cached: tuple[str, ...]


_VERSIONS = {
    "": _Version("memory.max", "memory.current", ("inactive_file", "active_file")),
    "memory": _Version("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
}


def available(root: Path = Path("/")) -> int:
    """Return bytes that programs can still have without swapping. ``root`` is where ``proc`` and ``sys`` are."""
    lines = dict(line.split(":", 1) for line in (root / "proc/meminfo").read_text().splitlines())
    return min([int(lines["MemAvailable"].split()[0]) << 10, *_left_by_groups(root)])


def _left_by_groups(root: Path) -> Iterator[int]:
    """Yield what each control group that this process is in leaves, and each above them, if it has a limit."""
    groups = root / "proc/self/cgroup"
    for line in groups.read_text().splitlines() if groups.is_file() else ():
        _, controller, path = line.split(":", 2)
        if controller in _VERSIONS:
            top = root / "sys/fs/cgroup" / controller
            group = top / path.lstrip("/")
            for folder in (group, *(above for above in group.parents if above.is_relative_to(top))):
                yield from _left(folder, _VERSIONS[controller])


def _left(group: Path, version: _Version) -> Iterator[int]:
    """Yield what one group leaves; nothing when it has no limit, or is not to be seen from inside a container."""
    try:
        limit = (group / version.limit).read_text().strip()
        used = int((group / version.used).read_text())
        held = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return
    if limit.isdigit():
        yield max(0, int(limit) - used + sum(int(held.get(name, 0)) for name in version.cached))
