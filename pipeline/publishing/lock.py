"""One publication of a recipe to a cloud at a time, on this machine.

The kernel drops the lock when its holder dies, also by SIGKILL, so that no stale one can be left.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.base.progress import Progress, nothing
from pipeline.publishing.cloud_errors import Contended
from pipeline.publishing.patience import Patience


@contextlib.contextmanager
def held(path: Path, what: str, patience: Patience | None = None, progress: Progress = nothing) -> Iterator[None]:
    """Hold the lock file ``path`` while the block runs.

    Raises ``Contended`` when another process has it: at once, or when it still does after the time that ``patience``
    leaves for work to settle.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if not _taken(descriptor) and not (patience and _awaited(descriptor, what, patience, progress)):
            raise Contended(
                f"another run on this machine is at work on {what} (process {_holder(descriptor)})",
                hint="let it finish; it ends by itself or shows where it waits",
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _awaited(descriptor: int, what: str, patience: Patience, progress: Progress) -> bool:
    """Wait for the holder's end; false when it takes too long."""
    progress.say(f"waiting for process {_holder(descriptor)}, which is {what}")
    return any(_taken(descriptor) for _ in patience.until_settled())


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, 32, 0).decode(errors="replace") or "unknown"
