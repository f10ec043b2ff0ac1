"""Locks between processes that end with their holder, however it ends, and that say who holds them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.base.owner import Owner


@dataclass
class Lock:
    """A held lock. Give it back with ``release``."""

    path: Path
    descriptor: int

    def release(self) -> None:
        """Let others have it. Harmless when done already."""
        if self.descriptor >= 0:
            os.ftruncate(self.descriptor, 0)
            # Explicitly, since processes forked meanwhile have the descriptor, too.
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)
            os.close(self.descriptor)
            self.descriptor = -1


def attempt(path: Path, purpose: str) -> Lock | None:
    """The lock at ``path``, or ``None`` when another process holds it (``holder`` says which)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    if not _is_at(descriptor, path):
        # Removed by a clean-up between our open and our lock.
        os.close(descriptor)
        return attempt(path, purpose)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps({"owner": Owner.current().mark, "purpose": purpose}).encode(), 0)
    return Lock(path, descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def holder(path: Path) -> str:
    """Who holds the lock at ``path``, in words: "process 123 (building tiny)"."""
    try:
        said = json.loads(path.read_bytes())
        owner = Owner.find(said["owner"])
        return f"process {owner.pid if owner else '?'} ({said['purpose']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


@contextlib.contextmanager
def held(path: Path, purpose: str, *, wait: float = 0) -> Iterator[Lock]:
    """Hold the lock while the block runs. Raises ``PipelineError`` naming the holder after ``wait`` seconds."""
    deadline = time.monotonic() + wait
    while (lock := attempt(path, purpose)) is None:
        if time.monotonic() >= deadline:
            raise PipelineError(f"{path.name} is locked by {holder(path)}", hint="wait until it ends, then try again")
        time.sleep(0.05)
    try:
        yield lock
    finally:
        lock.release()
