"""Collect what a benchmark has measured, for whoever compares it with another run: ``./inv bench NAME --json FILE``."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.base.home import CHECKOUT


@dataclass(frozen=True)
class Figure:
    """One figure: the median of ``n`` measurements, and the limit that is demanded, if one is."""

    name: str
    value: float
    unit: str
    n: int = 1
    least: float | None = None
    most: float | None = None

    @property
    def met(self) -> bool:
        """Whether it is within its limits."""
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)


_noted: list[Figure] = []


def note(
    name: str, value: float, unit: str, *, n: int = 1, least: float | None = None, most: float | None = None
) -> None:
    """Remember a figure of this run. ``unit`` is ``×`` for a ratio."""
    _noted.append(Figure(name, value, unit, n, least, most))


def document(benchmark: str, options: Sequence[str], status: int, load: Sequence[float]) -> Mapping[str, object]:
    """Everything that was noted, with what it depends on. ``load``: the machine's averages when the run began."""
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    return {
        "benchmark": benchmark,
        "options": list(options),
        "status": status,
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": head.stdout.strip() or None,
        "machine": {
            "processors": len(os.sched_getaffinity(0)),
            "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "model": _model(),
            "kernel": platform.release(),
            "kvm": os.access("/dev/kvm", os.W_OK),
            "load": list(load),
        },
        "figures": [{**asdict(each), "met": each.met} for each in _noted],
    }


def _model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
