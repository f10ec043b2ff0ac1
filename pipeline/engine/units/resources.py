"""Measure what is free on this machine, and check what a unit of work needs of it.

Builds run side by side as far as memory, disk and guest slots allow. A need that the machine could never meet is an
error before the start; one that it cannot meet now waits.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.host.system import memory

MIB = 1 << 20
GIB = 1 << 30
# What is left to the rest of the machine.
SPARE_MEMORY = 512 * MIB
SPARE_DISK = 256 * MIB


@dataclass(frozen=True)
class Needs:
    """Memory and disk in bytes, and guests running at the same time."""

    memory: int = 64 * MIB
    disk: int = 0
    guests: int = 0

    def __or__(self, other: Needs) -> Needs:
        """Return what suffices for either, one after the other."""
        return Needs(max(self.memory, other.memory), max(self.disk, other.disk), max(self.guests, other.guests))

    def __add__(self, other: Needs) -> Needs:
        """Return what suffices for both at once."""
        return Needs(self.memory + other.memory, self.disk + other.disk, self.guests + other.guests)


@dataclass
class Resources:
    """Hands out memory, disk and guest slots. ``slots`` is how many guests may run at once."""

    folder: Path
    slots: int
    memory: int
    _taken: dict[str, Needs] = field(default_factory=dict)

    @classmethod
    def of_this_machine(cls, folder: Path, slots: int | None = None) -> Resources:
        """Return what there is now. Without ``slots``, a guest for each processor of this process, and one more.

        For some of its time every guest waits, and an appliance for us.
        """
        return cls(folder, slots or len(os.sched_getaffinity(0)) + 1, memory.available())

    def check(self, what: str, needs: Needs) -> None:
        """Raise ``PipelineError`` when ``needs`` can't be met here, however long one waits."""
        free = free_disk(self.folder)
        if needs.disk + SPARE_DISK > free + self._total().disk:
            raise PipelineError(
                f"{what} needs {amount(needs.disk + SPARE_DISK)} of disk, {self.folder} has {amount(free)} free",
                hint="./inv cache.gc frees what old builds left; PIPELINE_CACHE may point to a larger file system",
            )
        if needs.memory + SPARE_MEMORY > self.memory:
            raise PipelineError(
                f"{what} needs {amount(needs.memory)} of memory (and {amount(SPARE_MEMORY)} for the rest), "
                f"{amount(self.memory)} are available",
                hint="end other programs, raise the limit of the container or service, or lower the recipe's memory",
            )

    def take(self, owner: str, needs: Needs) -> bool:
        """Give ``needs`` to ``owner`` if they are free; say whether they were. What runs alone always may."""
        total = self._total() + needs
        fits = (
            total.guests <= self.slots
            and total.memory + SPARE_MEMORY <= self.memory
            and needs.disk + SPARE_DISK <= free_disk(self.folder)
        )
        if fits or not self._taken:
            self._taken[owner] = needs
            return True
        return False

    def give_back(self, owner: str) -> None:
        """Take back what ``owner`` had."""
        self._taken.pop(owner, None)

    def _total(self) -> Needs:
        total = Needs(0, 0, 0)
        for needs in self._taken.values():
            total += needs
        return total


def free_disk(folder: Path) -> int:
    """Return bytes that this user can still write to the file system of ``folder`` (or of its nearest parent)."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def amount(size: float) -> str:
    """Return bytes for people: 1.5 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
