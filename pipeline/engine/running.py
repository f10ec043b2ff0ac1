"""A worker as the engine sees it: what it reports, whether it still runs, and how to end it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.engine import events, strays, worker
from pipeline.engine.locks import Lock
from pipeline.engine.task import Task

# How long a worker may clean up after its deadline, or after it was told to stop, before it is killed.
GRACE = 60.0


@dataclass
class Running:
    """One worker process. ``failure`` is the last report of a failure, ``step`` the step it works on.

    ``accelerator`` is what its guests run on, once it has said so.
    """

    task: Task
    lock: Lock
    pid: int
    reader: int
    step: str
    deadline: float
    failure: dict[str, Any] | None = None
    accelerator: str | None = None
    committed: bool = False
    status: int | None = None
    _rest: bytes = b""
    _stop_by: float | None = field(default=None)

    @classmethod
    def start(cls, task: Task, lock: Lock) -> Running:
        """Start a worker on ``task``, whose key is locked by ``lock``."""
        pid, reader = worker.start(task)
        os.set_blocking(reader, False)
        return cls(task, lock, pid, reader, task.unit.entries[0].name, time.monotonic() + GRACE)

    def reports(self) -> Iterator[dict[str, Any]]:
        """What the worker has reported since the last call."""
        while True:
            try:
                block = os.read(self.reader, 1 << 16)
            except BlockingIOError:
                return
            if not block:
                return
            *lines, self._rest = (self._rest + block).split(b"\n")
            for line in lines:
                report = json.loads(line)
                self._note(report)
                yield report

    def is_over(self) -> bool:
        """Whether the process has ended; then ``status`` says how (negative: by that signal)."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def stop(self) -> None:
        """Tell the worker to clean up and end."""
        if self._stop_by is None:
            self._stop_by = time.monotonic() + GRACE
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the worker and everything it started, now."""
        self._signal(signal.SIGKILL)

    def enforce(self) -> None:
        """Kill a worker that did not end by itself in time."""
        now = time.monotonic()
        if now > self.deadline or (self._stop_by is not None and now > self._stop_by):
            self.kill()

    def explain(self) -> tuple[PipelineError, float]:
        """Why it failed, and after how many seconds of the step."""
        report = self.failure
        if report is not None:
            return PipelineError(report["message"], hint=report["hint"], details=report["details"]), report["seconds"]
        if self.status is not None and self.status < 0:
            name = signal.Signals(-self.status).name
            hint = "was the machine out of memory? dmesg would say so" if name == "SIGKILL" else None
            return PipelineError(f"its process was ended by {name}", hint=hint), 0.0
        return PipelineError(f"its process ended with status {self.status} and no word"), 0.0

    def end(self) -> None:
        """Leave no process of the worker's, nor its temporary files. Harmless when done already, as ``bury``."""
        if self.status is None:
            self.kill()
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if self.reader >= 0:
            os.close(self.reader)
            self.reader = -1
        strays.end(lambda mark: mark == self.task.place.mark)
        shutil.rmtree(self.task.temporary, ignore_errors=True)

    def bury(self) -> None:
        """Leave nothing of the worker but its result, and let others have its key."""
        with contextlib.ExitStack() as stack:
            stack.callback(self.lock.release)
            stack.callback(self.task.place.clear)
            self.end()

    def _note(self, report: dict[str, Any]) -> None:
        kind = report["kind"]
        self.step = report["step"]
        if kind == "started":
            self.deadline = time.monotonic() + report["deadline"] + GRACE
            self.accelerator = report["accelerator"]
        elif kind == "failed":
            self.failure = report
        elif kind == "committed":
            self.committed = True

    def _signal(self, number: int) -> None:
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def event_of(recipe: str, report: dict[str, Any], expected: float | None) -> events.Event | None:
    """What a worker reported, as an event; ``None`` for what only the engine needs to know."""
    step = report["step"]
    match report["kind"]:
        case "started":
            return events.StepStarted(recipe=recipe, step=step, log=report["log"], expected=expected)
        case "progress":
            done, total, unit = report["done"], report["total"], report["unit"]
            return events.StepProgress(recipe=recipe, step=step, done=done, total=total, unit=unit)
        case "said":
            return events.StepSaid(recipe=recipe, step=step, text=report["text"])
        case "finished":
            return events.StepFinished(recipe=recipe, step=step, seconds=report["seconds"])
        case _:
            return None
