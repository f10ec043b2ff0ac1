"""Hold a worker from the engine's side: read its reports, see whether it still runs, and end it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pipeline.base import json_text
from pipeline.base.errors import PipelineError
from pipeline.base.locks import Lock
from pipeline.engine.record import events
from pipeline.engine.run import orphans, worker
from pipeline.engine.run.task import WorkerTask

# How long a worker may clean up after its deadline, or after it was told to stop, before it is killed; and how long
# the programs that it started may go on: libraries wait for theirs, and let nobody interrupt them.
GRACE = 60.0
PATIENCE = 5.0
# Before its first step a worker may probe the accelerator, by booting a guest.
_PREPARATION = 180.0
_AGAIN = 1.0  # seconds between two requests to stop


@dataclass
class WorkerHandle:
    """One worker process. ``failure`` is the last report of a failure, ``step`` the step it works on.

    ``accelerator`` is what its guests run on, once it has said so.
    """

    task: WorkerTask
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
    _begun: float = field(default_factory=time.monotonic)
    _stopped: float | None = None
    _asked: float = 0.0
    _relieved: float = -PATIENCE

    @classmethod
    def start(cls, task: WorkerTask, lock: Lock) -> WorkerHandle:
        """Start a worker on ``task``, whose key is locked by ``lock``."""
        pid, reader = worker.start(task)
        os.set_blocking(reader, False)
        return cls(task, lock, pid, reader, task.unit.entries[0].name, time.monotonic() + _PREPARATION)

    def reports(self) -> Iterator[dict[str, Any]]:
        """Yield what the worker has reported since the last call."""
        while True:
            try:
                block = os.read(self.reader, 1 << 16)
            except BlockingIOError:
                return
            if not block:
                return
            *lines, self._rest = (self._rest + block).split(b"\n")
            for line in lines:
                report = json_text.loads(line)
                self._note(report)
                yield report

    def is_over(self) -> bool:
        """Return whether the process has ended; then ``status`` says how (negative: by that signal)."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def stop(self) -> None:
        """Tell the worker to clean up and end."""
        if self._stopped is None:
            self._stopped = self._asked = time.monotonic()
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the worker and everything it started, now."""
        self._signal(signal.SIGKILL)

    def enforce(self) -> None:
        """Press a worker that is to end: ask again, end its programs, and kill it when all that does not help."""
        now = time.monotonic()
        over = now - (self.deadline if self._stopped is None else min(self.deadline, self._stopped))
        if over > GRACE:
            self.kill()
        elif over > PATIENCE and now - self._relieved > PATIENCE:
            # More than once: a library may try again what has failed.
            self._relieved = now
            orphans.end(lambda mark: mark == self.task.location.mark)
        if self._stopped is not None and now - self._asked > _AGAIN:
            self._asked = now
            self._signal(signal.SIGTERM)

    def explain(self) -> tuple[PipelineError, float]:
        """Return why it failed, and after how many seconds of the step."""
        report = self.failure
        if report is not None:
            return PipelineError(report["message"], hint=report["hint"], details=report["details"]), report["seconds"]
        return self._silent_end(), round(time.monotonic() - self._begun, 3)

    def _silent_end(self) -> PipelineError:
        if self._stopped is not None:
            return PipelineError(worker.STOPPED)
        if self.status is None or self.status >= 0:
            return PipelineError(f"its process ended with status {self.status} and no word")
        if time.monotonic() > self.deadline + GRACE:
            hint = "its log says what it was waiting for"
            return PipelineError("it did not end when its time was over, and was killed", hint=hint)
        name = signal.Signals(-self.status).name
        memory = "was the machine out of memory? dmesg would say so" if name == "SIGKILL" else None
        return PipelineError(f"its process was ended by {name}", hint=memory)

    def end(self) -> None:
        """Leave no process of the worker's, nor its temporary files. Harmless when done already, as ``reap``."""
        if self.status is None:
            self.kill()
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if self.reader >= 0:
            os.close(self.reader)
            self.reader = -1
        orphans.end(lambda mark: mark == self.task.location.mark)
        shutil.rmtree(self.task.temporary, ignore_errors=True)

    def reap(self) -> None:
        """Leave nothing of the worker but its result, and let others have its key."""
        with contextlib.ExitStack() as stack:
            stack.callback(self.lock.release)
            stack.callback(self.task.location.clear)
            self.end()

    def _note(self, report: dict[str, Any]) -> None:
        kind = report["kind"]
        self.step = report["step"]
        if kind == "started":
            self._begun = time.monotonic()
            self.deadline = self._begun + report["deadline"]
            self.accelerator = report["accelerator"]
        elif kind == "failed":
            # What fails because its programs were ended has failed for that reason.
            because: dict[str, Any] = (
                {"message": worker.STOPPED, "hint": None, "details": []} if self._stopped is not None else {}
            )
            self.failure = {**report, **because}
        elif kind == "committed":
            self.committed = True

    def _signal(self, number: int) -> None:
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def event_of(recipe: str, report: dict[str, Any], expected: float | None) -> events.Event | None:
    """Return what a worker reported, as an event; ``None`` for what only the engine needs to know."""
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
