"""Find processes that a worker started, by the mark that every program below it inherits in its environment.

A guest that outlives its worker (killed, crashed) is found by this also when it moved to a session of its own. Only
processes of this user can be read, and only marked ones are ever ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_NAME = b"PIPELINE_OWNER="
_END_SECONDS = 5.0


@dataclass(frozen=True)
class Orphan:
    """A running process that carries ``mark``."""

    pid: int
    mark: str
    command: str


def marked(mine: Callable[[str], bool]) -> Iterator[Orphan]:
    """Yield running processes whose mark satisfies ``mine``, without the calling one."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            environment = (folder / "environ").read_bytes()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        for variable in environment.split(b"\0"):
            if variable.startswith(_NAME) and mine(mark := variable[len(_NAME) :].decode(errors="replace")):
                yield Orphan(int(folder.name), mark, command)


def end(mine: Callable[[str], bool]) -> list[Orphan]:
    """Kill every process whose mark satisfies ``mine``, until there is none; return those that were there."""
    ended: dict[int, Orphan] = {}
    deadline = time.monotonic() + _END_SECONDS
    while (found := list(marked(mine))) and time.monotonic() < deadline:
        for orphan in found:
            ended[orphan.pid] = orphan
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(orphan.pid, signal.SIGKILL)
        # Some of them may be ours to reap.
        for orphan in found:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(orphan.pid, os.WNOHANG)
        time.sleep(0.02)
    return list(ended.values())
