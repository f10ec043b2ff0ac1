"""Give each unit its working directories: private, in the store, named for the process that owns the run.

The disk is made in a folder next to the frozen ones, so that its backing file's relative name is right before and
after it is moved into place.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.base import atomic
from pipeline.engine.cache.store import DISK, CacheStore
from pipeline.host.qemu.accelerator import Accelerator

KEPT = "kept."


@dataclass(frozen=True)
class Workdir:
    """``layer`` holds the disk being made; ``folder`` everything else. ``mark`` names the owner and the unit."""

    layer: Path
    folder: Path
    mark: str

    @classmethod
    def name(cls, store: CacheStore, unit: str) -> Workdir:
        """Choose names for the work of ``unit``; nothing is made yet."""
        plain = unit.replace("/", ".")
        layer = atomic.temporary_name(store.layers / plain)
        folder = atomic.temporary_name(store.work / plain)
        owner_and_number = ".".join(folder.name.removeprefix(".partial.").split(".")[:2])
        return cls(layer, folder, owner_and_number)

    @property
    def disk(self) -> Path:
        """The disk that the unit makes or changes."""
        return self.layer / DISK

    @property
    def scratch(self) -> Path:
        """For the steps' own use."""
        return self.folder / "scratch"

    @property
    def products(self) -> Path:
        """Where products are written."""
        return self.folder / "products"

    @property
    def documents(self) -> Path:
        """Where a record step leaves files."""
        return self.folder / "documents"

    def make(self) -> None:
        """Make the folders, closed to everybody else."""
        for path in (self.layer, self.folder, self.scratch, self.products, self.documents):
            path.mkdir(mode=0o700)

    def product(self, format_: str) -> Path:
        """Return where the product of one format is written."""
        return self.products / f"image.{format_}"

    def clear(self) -> None:
        """Remove everything. What was moved into the store is no longer here."""
        for path in (self.layer, self.folder):
            shutil.rmtree(path, ignore_errors=True)

    def keep(self, run: str, base: str | None) -> Path | None:
        """Set the disk aside for a person to look at; remove the rest. ``None`` when there is no disk.

        It stays next to the frozen disks, since it may stand on one of them.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        if not self.disk.is_file():
            self.clear()
            return None
        target = self.layer.with_name(f"{KEPT}{run}.{self.layer.name.split('.', 4)[-1]}")
        atomic.write_text(self.layer / "kept.json", json.dumps({"base": base, "run": run}) + "\n")
        self.layer.rename(target)
        return target / DISK


def kept(store: CacheStore) -> Iterable[Path]:
    """Return the folders of all disks that were set aside."""
    return sorted(store.layers.glob(f"{KEPT}*"))


def commands(disk: Path, accelerator: str) -> list[str]:
    """Return what a person types to look into a disk that was set aside, on a machine whose guests run on
    ``accelerator``.
    """
    found = Accelerator(accelerator, None, "")
    environment = f"LIBGUESTFS_BACKEND=direct LIBGUESTFS_BACKEND_SETTINGS={','.join(found.guestfs_settings)}"
    escaped = str(disk).replace(",", ",,")
    words = ["qemu-system-x86_64", *found.qemu_args, "-m", "1024", "-snapshot", "-nographic"]
    return [
        f"the disk as it was is kept: {disk}",
        f"look inside:  {environment} guestfish --ro -i -a {shlex.quote(str(disk))}",
        f"boot a copy:  {shlex.join([*words, '-drive', f'file={escaped},if=virtio,format=qcow2'])}",
    ]
