"""What runs in one home left on this machine. Other tests and people work on it as well: theirs does not count."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.base.home import Home
from pipeline.base.owner import Owner
from pipeline.engine.run import orphans
from pipeline.engine.run.reap import TEMPORARY


def of(home: Home) -> list[str]:
    """Half-made files, temporary folders and processes of runs that are over."""
    files = [str(path) for folder in {home.root, home.cache} for path in folder.rglob(".partial.*")]
    return [*files, *_folders(home), *processes(home)]


def processes(home: Home) -> list[str]:
    """Processes that dead runs left, by their command."""
    dead = tuple(_dead(home))
    return [stray.command for stray in orphans.marked(lambda mark: mark.startswith(dead))] if dead else []


def _folders(home: Home) -> Iterator[str]:
    for owner in _dead(home):
        yield from (str(path) for path in Path(tempfile.gettempdir()).glob(f"{TEMPORARY}{owner}*"))


def _dead(home: Home) -> Iterator[str]:
    """The marks of all processes that ran something here and are no more."""
    for file in home.runs.glob("*/run.json"):
        with contextlib.suppress(OSError, ValueError):
            owner = Owner.find(json.loads(file.read_text()).get("owner", ""))
            if owner is not None and not owner.is_alive():
                yield owner.mark
