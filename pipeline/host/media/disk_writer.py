"""Write a whole bootable disk from two trees: a FAT partition with the boot loaders, an ext4 root, no mount, no root.

The root is partition 1 and lies last, so that it can grow; the boot partition is partition 2, active for a BIOS and of
the type a UEFI looks for.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.host.media import ext4, fat, partitions
from pipeline.host.media.file_tree import FileTree

_MIB = 1 << 20
_BOOT_START = _MIB
_BOOT_SIZE = 31 * _MIB
_ROOT_START = _BOOT_START + _BOOT_SIZE
# What partitioning tools leave free at the end.
_REST = _MIB
_SMALLEST_ROOT = 16 * _MIB


@dataclass(frozen=True)
class SmallDisk:
    """What the disk is: ``size`` in bytes, both trees, labels, identities, and one ``time`` for everything on it."""

    size: int
    boot: FileTree
    root: FileTree
    boot_label: str
    root_label: str
    boot_code: bytes
    serial: int
    root_identity: uuid.UUID
    time: int

    def write(self, target: Path, scratch: Path) -> None:
        """Write it as RAW into ``target``. Raises ``PipelineError`` when it does not fit."""
        root_size = (self.size - _ROOT_START - _REST) // _MIB * _MIB
        if root_size < _SMALLEST_ROOT:
            smallest = (_ROOT_START + _SMALLEST_ROOT + _REST) >> 20
            raise PipelineError(f"the disk is too small: at least {smallest} MiB are needed", hint="set disk.size")
        with target.open("wb") as file:
            file.truncate(self.size)
        self._write_boot(target, scratch)
        options = ext4.Ext4Options(self.root_label, self.root_identity, self.time)
        ext4.write(target, _ROOT_START, root_size, self.root, options, scratch)
        sector = partitions.SECTOR
        table = [
            partitions.Partition(_ROOT_START // sector, root_size // sector, partitions.LINUX),
            partitions.Partition(_BOOT_START // sector, _BOOT_SIZE // sector, partitions.EFI_SYSTEM, active=True),
        ]
        partitions.write(target, table, code=self.boot_code, identity=self.serial)

    def _write_boot(self, target: Path, scratch: Path) -> None:
        image = scratch / "boot.fat"
        fat.write(
            image,
            _BOOT_SIZE,
            self.boot,
            label=self.boot_label,
            serial=self.serial,
            start=_BOOT_START // partitions.SECTOR,
            time=self.time,
        )
        fat.install_syslinux(image, self.time)
        partitions.splice(image, target, _BOOT_START)
        image.unlink()
