"""Read earlier runs from their folders."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.base import json_text
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.base.owner import Owner

_KEPT_RUNS = 200
# What an event says of its step.
_STATUS = {
    "StepCached": "cached",
    "StepWaiting": "waiting",
    "StepStarted": "running",
    "StepFinished": "ran",
    "StepFailed": "failed",
}


@dataclass(frozen=True)
class PastRun:
    """A run as its folder tells it."""

    folder: Path
    head: dict[str, Any]

    @property
    def name(self) -> str:
        """Its id."""
        return self.folder.name

    @property
    def status(self) -> str:
        """``running``, ``good``, ``failed``, ``interrupted`` or ``killed``."""
        status = str(self.head.get("status", "killed"))
        return "killed" if status == "running" and not self.is_alive else status

    @property
    def is_alive(self) -> bool:
        """Whether its process still runs."""
        owner = Owner.find(str(self.head.get("owner", "")))
        return owner is not None and owner.is_alive()

    @property
    def seconds(self) -> float | None:
        """How long it took, if it ended."""
        with contextlib.suppress(KeyError, ValueError):
            began, ended = (datetime.fromisoformat(self.head[key]) for key in ("started", "ended"))
            return (ended - began).total_seconds()
        return None

    def logs(self) -> list[Path]:
        """Return the logs of its steps, in the order in which they were begun."""
        found = [path for path in self.folder.glob("*/*.log") if path.is_file()]
        return sorted(found, key=lambda path: path.stat().st_mtime)

    def so_far(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return how far each step came, by recipe, of a run that has written no results: its
        status and its seconds.
        """
        now = time.time() if self.is_alive else None
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for event in self.events():
            if event["event"] in _STATUS:
                status, seconds = _STATUS[event["event"]], event.get("seconds", 0.0)
                if status == "running":
                    status, seconds = (status, now - event["at"]) if now else ("killed", 0.0)
                steps = found.setdefault(event["recipe"], {})
                steps[event["step"]] = {"status": status, "seconds": seconds}
        return found

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield everything that happened. A line that a killed run left half is left out."""
        with contextlib.suppress(OSError):
            for line in (self.folder / "events.jsonl").read_text().splitlines():
                with contextlib.suppress(ValueError):
                    yield json_text.loads(line)


def past_runs(home: Home) -> list[PastRun]:
    """Return all runs, the newest first."""
    found = []
    for folder in sorted(home.runs.glob("*"), reverse=True):
        with contextlib.suppress(OSError, ValueError):
            found.append(PastRun(folder, json_text.loads((folder / "run.json").read_text())))
    return found


def find(home: Home, name: str) -> PastRun:
    """Return the run called ``name``, or that has a unique beginning of it; ``last`` for the newest one.

    Raises ``PipelineError`` when there is none.
    """
    runs = past_runs(home)
    matching = runs[:1] if name == "last" else [run for run in runs if run.name.startswith(name)]
    if len(matching) == 1:
        return matching[0]
    if not runs:
        raise PipelineError("there is no run yet", hint="./inv build RECIPE makes one")
    shown = ", ".join(run.name for run in (matching or runs)[:5])
    raise PipelineError(
        f"{'several runs begin with' if matching else 'there is no run'} {name!r}", hint=f"the newest runs: {shown}"
    )


def find_log(run: PastRun, step: str) -> Path:
    """Return the log of a step: ``boot``, or ``tiny/boot`` where several recipes have one. Raises ``PipelineError``."""
    logs = run.logs()
    matching = [path for path in logs if step in (path.stem, f"{path.parent.name}/{path.stem}")]
    if len(matching) == 1:
        return matching[0]
    shown = ", ".join(f"{path.parent.name}/{path.stem}" for path in matching or logs) or "none"
    raise PipelineError(
        f"run {run.name} has {'several logs' if matching else 'no log'} of {step!r}", hint=f"its logs: {shown}"
    )


def follow(run: PastRun, file: Path) -> Iterator[bytes]:
    """Yield what the log says, and what is added to it as long as the run lasts."""
    with file.open("rb") as log:
        while True:
            over = not run.is_alive
            while block := log.read(1 << 16):
                yield block
            if over:
                return
            time.sleep(0.2)


def prune(home: Home) -> list[Path]:
    """Remove the oldest runs beyond the newest 200; return them."""
    old = [run.folder for run in past_runs(home)[_KEPT_RUNS:] if not run.is_alive]
    for folder in old:
        shutil.rmtree(folder, ignore_errors=True)
    return old
