"""Overlays: QCOW2 files that hold only what changed since the frozen disk below (QEMU's docs/interop/qcow2.txt)."""

from __future__ import annotations

import struct
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.engine.store import DISK
from pipeline.host import process

_MAGIC = b"QFI\xfb"


def create(folder: Path, base: str) -> None:
    """Make the overlay ``folder/disk.qcow2`` over the frozen disk with digest ``base``, as large as that."""
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", name_of(base), DISK]
    # The name is relative to the overlay's own folder, and QEMU looks there when it reads the base's size.
    process.run(command, cwd=folder, timeout=60)


def name_of(base: str) -> str:
    """How an overlay names the frozen disk with digest ``base``."""
    return f"../{base}/{DISK}"


def require_base(file: Path, base: str | None) -> None:
    """Raise ``PipelineError`` unless ``file`` is a QCOW2 disk over exactly ``base`` (``None``: over nothing).

    A step that replaced the disk by a standalone copy, or let a tool put an absolute name in, would break the chain
    as soon as the cache is moved.
    """
    found = _backing_name(file)
    expected = name_of(base) if base else None
    if found != expected:
        raise PipelineError(
            f"the step left a disk over {found or 'nothing'}, not over {expected or 'nothing'}",
            hint="a step must change the disk it is given in place",
        )


def _backing_name(file: Path) -> str | None:
    with file.open("rb") as opened:
        head = opened.read(20)
        if len(head) < 20 or head[:4] != _MAGIC:
            raise PipelineError("the step left a disk that is no QCOW2 file", hint="this is a bug in the step")
        offset, length = struct.unpack(">QI", head[8:20])
        if not offset:
            return None
        opened.seek(offset)
        return opened.read(min(length, 1023)).decode(errors="replace")
