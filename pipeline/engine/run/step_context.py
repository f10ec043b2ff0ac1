"""Surround a step while it runs: its log, its deadline, a watch over what it must not change."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO

from pipeline.base.errors import PipelineError

_AGAIN = 1.0  # seconds


class DeadlinePassed(PipelineError):
    """A step took too long."""


def is_handled(kind: type[BaseException]) -> bool:
    """Return whether an error of this ``kind`` has been raised and is being dealt with by the calling code.

    A signal's handler may run in a callback of a C library, which swallows what it raises: so it is not enough that
    it has raised the error once.
    """
    found = sys.exc_info()[1]
    while found is not None and not isinstance(found, kind):
        found = found.__context__
    return found is not None


@contextlib.contextmanager
def outputs_to(log: IO[bytes]) -> Iterator[None]:
    """Send standard output and error to the log while the block runs, also those of programs that inherit them."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(number) for number in (1, 2)]
    try:
        for number in (1, 2):
            os.dup2(log.fileno(), number)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in zip((1, 2), saved, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)


@contextlib.contextmanager
def deadline(name: str, seconds: float) -> Iterator[None]:
    """Raise ``DeadlinePassed`` in the block when it takes longer. Clean-up afterwards has as long as it needs."""

    def passed(number: int, frame: FrameType | None) -> None:
        if not is_handled(DeadlinePassed):
            hint = "its log says what it was waiting for"
            raise DeadlinePassed(f"{name} did not end within {seconds:.0f} s", hint=hint)

    before = signal.signal(signal.SIGALRM, passed)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Hold signals back while the block runs, so that none ends it half way; they come through afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGALRM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def untouched(files: list[Path]) -> Iterator[None]:
    """Raise ``PipelineError`` when the block changed one of ``files``."""
    before = [_state(file) for file in files]
    yield
    for file, state in zip(files, before, strict=True):
        if _state(file) != state:
            raise PipelineError(f"the step changed {file}, which is frozen", hint="this is a bug in the step")


def _state(file: Path) -> tuple[int, int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino
