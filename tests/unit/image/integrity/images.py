"""One disk in every format and kind that QEMU writes and this pipeline takes, and where their tables lie."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.image import convert, formats
from pipeline.image.integrity.check import require_whole
from pipeline.image.integrity.layout import DiskFile
from tests.unit.image.hostile import qemu_img

SIZE = 24 << 20
# Kind → (format, options of qemu-img convert).
KINDS = {
    "qcow2": ("qcow2", ()),
    "qcow2-v2": ("qcow2", ("-o", "compat=0.10")),
    "qcow2-small-clusters": ("qcow2", ("-o", "cluster_size=4096")),
    "qcow2-zlib": ("qcow2", ("-c",)),
    "qcow2-zstd": ("qcow2", ("-c", "-o", "compression_type=zstd")),
    "vmdk-sparse": ("vmdk", ("-o", "subformat=monolithicSparse")),
    "vmdk-stream": ("vmdk", ("-o", "subformat=streamOptimized")),
    "vhd": ("vhd", ("-o", "subformat=dynamic,force_size=on")),
    "vhdx": ("vhdx", ("-o", "block_size=1M")),
    "vhdx-fixed": ("vhdx", ("-o", "subformat=fixed,block_size=8M")),
    "vdi": ("vdi", ()),
    "vdi-static": ("vdi", ("-o", "static=on")),
    "gpt": ("raw", ()),
}


def make_disk(path: Path) -> Path:
    """A partitioned disk with data here and there, up to its end."""
    chance = random.Random(17)
    with path.open("wb") as file:
        file.truncate(SIZE)
        for at in (1, 3, 4, 9, 15, 22):
            file.seek((at << 20) + 4096 * at)
            file.write(chance.randbytes(100_000) + b"text that packs well " * 9000)
    subprocess.run(["sgdisk", "-n", "1:2048:0", path], check=True, capture_output=True)
    return path


def make(kind: str, disk: Path, target: Path) -> tuple[str, Path]:
    """The disk as that kind; its format and the file."""
    disk_format, options = KINDS[kind]
    qemu_img("convert", "-f", "raw", "-O", convert.qemu_name(disk_format), *options, disk, target)
    return disk_format, target


def tables(path: Path, disk_format: str, monkeypatch: pytest.MonkeyPatch) -> list[range]:
    """Where an image's tables and headers lie: what its check reads, but the data it unpacks."""
    seen: set[tuple[int, int]] = set()
    read = DiskFile.read

    def noted(self: DiskFile, offset: int, length: int, what: str) -> bytes:
        if "cluster" not in what:
            seen.add((offset, offset + length))
        return read(self, offset, length, what)

    with monkeypatch.context() as patched:
        patched.setattr(DiskFile, "read", noted)
        require_whole(path, formats.inspect(path, disk_format).format)
    return [range(*ends) for ends in sorted(seen)]


def refusal(path: Path, disk_format: str) -> formats.FormatRefused | None:
    """Why the image is refused, with QEMU's own look at it; ``None`` when it is taken."""
    try:
        convert.check(path, formats.inspect(path, disk_format).format)
    except formats.FormatRefused as refused:
        return refused
    return None


def holds(path: Path, disk_format: str, disk: Path) -> bool:
    """Whether QEMU finds the disk's very bytes in the image, zeros behind its end aside."""
    words: list[str | Path] = ["qemu-img", "compare", "-f", convert.qemu_name(disk_format), "-F", "raw", path, disk]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def changes(data: bytes, where: list[range], count: int, seed: str) -> Iterator[tuple[int, int]]:
    """Random places in the tables, with another value for the byte there."""
    chance = random.Random(seed)
    for _ in range(count):
        table = chance.choice(where)
        # Tables are mostly empty: half of the changes hit what is not.
        used = [at for at in table if data[at]] if chance.random() < 0.5 else None
        at = chance.choice(used or table)
        yield at, data[at] ^ chance.randrange(1, 256)
