"""Mark which process owns a thing, so that only what a dead owner left is ever swept.

A process id alone is reused; together with the process's start time (``/proc/PID/stat``, field 22, see
proc_pid_stat(5)) and the boot it is unique.
"""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path

_MARK = re.compile(r"(?P<pid>\d+)-(?P<start>\d+)-(?P<boot>[0-9a-f]{8})")


@dataclass(frozen=True)
class Owner:
    """A process, named so that it cannot be mistaken for a later one of the same id."""

    pid: int
    start: int
    boot: str

    @property
    def mark(self) -> str:
        """The owner as text that is safe in a file name."""
        return f"{self.pid}-{self.start}-{self.boot}"

    def is_alive(self) -> bool:
        """Return whether this very process still runs (a zombie counts as dead)."""
        return self.boot == _boot_id() and _start_time(self.pid) == self.start

    @classmethod
    def current(cls) -> Owner:
        """Return the calling process."""
        pid = os.getpid()
        start = _start_time(pid)
        if start is None:
            raise RuntimeError("/proc does not list the calling process")
        return cls(pid, start, _boot_id())

    @classmethod
    def find(cls, text: str) -> Owner | None:
        """Return the owner named in ``text`` (a file name, a domain's name), or ``None``."""
        match = _MARK.search(text)
        return cls(int(match["pid"]), int(match["start"]), match["boot"]) if match else None


@functools.cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")[:8]


def _start_time(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name may hold spaces and parentheses: split behind its last parenthesis.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
