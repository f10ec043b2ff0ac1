"""Sample what a running guest does, from outside: disk, network, serial line, screen, processor."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Protocol

from pipeline.base.errors import PipelineError
from pipeline.host.diagnosis.stall import Signals
from pipeline.host.qemu.qmp import GuestMonitor, MonitorError
from pipeline.host.system import process

_EVERY = 5.0  # seconds; a picture of the screen is not free
_SENT_RECEIVED = re.compile(r"\bbytes_(?:sent|received):(\d+)")


class Sampled(Protocol):
    """What ``GuestMetrics`` has to know of a guest."""

    monitor: GuestMonitor

    @property
    def pid(self) -> int:
        """QEMU's process id."""


class GuestMetrics:
    """Samples one guest, every five seconds at the most."""

    def __init__(self, guest: Sampled, *, has_screen: bool) -> None:
        self._guest = guest
        self._has_screen = has_screen
        self._next = 0.0

    def due(self) -> bool:
        """Return whether it is time for the next sample."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + _EVERY
        return True

    def sample(self, serial: int) -> Signals:
        """Return what the guest has done so far; ``serial`` is what it has said, in bytes. What can't be read is 0."""
        return Signals(
            disk=self._disk(),
            network=self._network(),
            serial=serial,
            screen=self._screen(),
            processor=self._processor(),
        )

    def _disk(self) -> int:
        with contextlib.suppress(MonitorError, KeyError, TypeError):
            stats = [drive["stats"] for drive in self._guest.monitor.execute("query-blockstats", timeout=10)]
            return sum(int(each["rd_bytes"]) + int(each["wr_bytes"]) for each in stats)
        return 0

    def _network(self) -> int:
        # QEMU's user network has no counters of its own; its connections on this machine have.
        with contextlib.suppress(PipelineError):
            output = process.run(["ss", "-tiepnHO"], timeout=10, check=False).stdout
            ours = (line for line in output.splitlines() if f",pid={self._guest.pid}," in line)
            return sum(int(count) for line in ours for count in _SENT_RECEIVED.findall(line))
        return 0

    def _screen(self) -> str:
        if not self._has_screen:
            return ""
        with (
            contextlib.suppress(MonitorError, OSError),
            tempfile.TemporaryDirectory(prefix="pipeline-screen-") as folder,
        ):
            picture = Path(folder) / "screen.png"
            self._guest.monitor.screenshot(picture)
            return hashlib.sha256(picture.read_bytes()).hexdigest()
        return ""

    def _processor(self) -> float:
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = Path(f"/proc/{self._guest.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return 0.0
