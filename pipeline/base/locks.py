"""Lock between processes: locks that end with their holder, however it ends, and that say who holds them.

The kernel drops them when their holder dies, also by SIGKILL (flock(2)), so that no stale one can be left. Those on
records in a cloud, where there is no kernel to ask, are ``publishing.transaction.cloud_lock``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.base import json_text
from pipeline.base.errors import PipelineError
from pipeline.base.owner import Owner
from pipeline.base.progress import Progress, nothing

_POLL = 0.05  # seconds between two looks at a lock that another process holds


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
    """Return the lock at ``path``, or ``None`` when another process holds it (``holder`` says which)."""
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
    """Return who holds the lock at ``path``, in words: "process 123 (building tiny)"."""
    try:
        document = json_text.loads(path.read_bytes())
        owner = Owner.find(document["owner"])
        return f"process {owner.pid if owner else '?'} ({document['purpose']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def take(descriptor: int) -> bool:
    """Lock an open file unless another process, or another opening of it, has it locked; return whether it was.

    For moments only, as ``exclusive``: nobody learns who holds it. Give it back with ``give_back``.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def give_back(descriptor: int) -> None:
    """Let others have what was taken."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextlib.contextmanager
def exclusive(descriptor: int) -> Iterator[None]:
    """Hold the lock of an open file while the block runs; waits for as long as another process takes.

    For moments only: nobody learns who holds it. Threads that share the descriptor are not kept apart.
    """
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextlib.contextmanager
def held(
    path: Path,
    purpose: str,
    *,
    wait: float = 0,
    progress: Progress = nothing,
    refusal: Callable[[str], PipelineError] | None = None,
) -> Iterator[Lock]:
    """Hold the lock while the block runs; another holder's end is awaited for ``wait`` seconds, which may be infinite.

    ``purpose``: what the lock is held for, as others are told: "publishing tiny". Raises what ``refusal`` makes of the
    holder's name, else a ``PipelineError`` that names the lock's file and its holder.
    """
    lock = attempt(path, purpose) or _awaited(path, purpose, wait, progress)
    if lock is None:
        who = holder(path)
        raise (
            refusal(who)
            if refusal
            else PipelineError(f"{path.name} is locked by {who}", hint="wait until it ends, then try again")
        )
    try:
        yield lock
    finally:
        lock.release()


def _awaited(path: Path, purpose: str, wait: float, progress: Progress) -> Lock | None:
    """Return the lock once its holder gives it back; ``None`` when that takes longer than ``wait`` seconds."""
    if wait <= 0:
        return None
    progress.say(f"waiting for {holder(path)}")
    deadline = time.monotonic() + wait
    lock = None
    while lock is None and time.monotonic() < deadline:
        # Polled: flock(2) cannot wait for a limited time, and a wait inside it would be deaf to a step's deadline.
        time.sleep(_POLL)
        lock = attempt(path, purpose)
    return lock
