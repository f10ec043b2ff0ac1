"""Create overlays: QCOW2 files that hold only what changed since the frozen disk below (QEMU's
docs/interop/qcow2.txt).
"""

from __future__ import annotations

import struct
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.engine.cache.store import DISK
from pipeline.host.system import process

_MAGIC = b"QFI\xfb"


def create(folder: Path, base: str) -> None:
    """Make the overlay ``folder/disk.qcow2`` over the frozen disk with digest ``base``, as large as that."""
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", name_of(base), DISK]
    # The name is relative to the overlay's own folder, and QEMU looks there when it reads the base's size.
    process.run(command, cwd=folder, timeout=60)


def name_of(base: str) -> str:
    """Return how an overlay names the frozen disk with digest ``base``."""
    return f"../{base}/{DISK}"


def require_base(file: Path, base: str | None) -> str | None:
    """Return the disk that ``file`` stands on: ``base``, or ``None`` when it was written anew and stands alone.

    Raises ``PipelineError`` for anything else: an absolute name, say, would break the chain as soon as the cache
    is moved.
    """
    found = _backing_name(file)
    if found is None:
        return None
    if base is None or found != name_of(base):
        raise PipelineError(
            f"the step left a disk over {found}, not over {name_of(base) if base else 'nothing'}",
            hint="a step changes the disk it is given in place, or writes one that stands alone",
        )
    return base


def _backing_name(file: Path) -> str | None:
    if not file.is_file():
        raise PipelineError("the step ended without a disk", hint="this is a bug in the step")
    with file.open("rb") as opened:
        head = opened.read(20)
        if len(head) < 20 or head[:4] != _MAGIC:
            raise PipelineError("the step left a disk that is no QCOW2 file", hint="this is a bug in the step")
        offset, length = struct.unpack(">QI", head[8:20])
        if not offset:
            return None
        opened.seek(offset)
        return opened.read(min(length, 1023)).decode(errors="replace")
