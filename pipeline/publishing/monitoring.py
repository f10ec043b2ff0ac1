"""Show publications by the engine's monitors, from several threads, and end them together when a person interrupts."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from pipeline.base.errors import PipelineError
from pipeline.engine.record import events
from pipeline.engine.record.events import Event, Monitor
from pipeline.publishing.cloud.retry import CloudRetryPolicy


class Watch:
    """Passes events of several publications on, one at a time."""

    def __init__(self, monitors: Sequence[Monitor] = ()) -> None:
        self._monitors = monitors
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def event(self, event: Event) -> None:
        """Show one event."""
        with self._lock:
            for monitor in self._monitors:
                monitor.event(event)

    def tick(self) -> None:
        """Move what moves."""
        with self._lock:
            for monitor in self._monitors:
                monitor.tick()

    def close(self) -> None:
        """Put the terminal in order."""
        with self._lock:
            for monitor in self._monitors:
                monitor.close()

    def end(self) -> None:
        """Have every publication stop at its next block or pause, and clean up behind itself."""
        self._ended.set()

    def check(self) -> None:
        """Raise ``PipelineError`` when the publications are to end."""
        if self._ended.is_set():
            raise PipelineError("interrupted")

    def retry_policy(self, retry_policy: CloudRetryPolicy) -> CloudRetryPolicy:
        """Return ``retry_policy`` whose pauses end at once, with an error, when the publications are to end."""

        def sleep(seconds: float) -> None:
            self._ended.wait(seconds)
            self.check()

        return replace(retry_policy, sleep=sleep)


class ReportedProgress:
    """The progress of one recipe's publication to one cloud, or of a part of that, from its making to ``ended``."""

    def __init__(self, watch: Watch, recipe: str, step: str) -> None:
        self._watch = watch
        self._recipe, self._step = recipe, step
        self._began = time.monotonic()
        watch.event(events.StepStarted(recipe=recipe, step=self._step, log=""))

    def advance(self, done: int, total: int | None, unit: str = "B") -> None:
        """Report as ``Progress.advance`` does; an interruption takes effect here, too."""
        self._watch.check()
        self._watch.event(events.StepProgress(recipe=self._recipe, step=self._step, done=done, total=total, unit=unit))

    def say(self, text: str) -> None:
        """See ``Progress.say``."""
        self._watch.check()
        self._watch.event(events.StepSaid(recipe=self._recipe, step=self._step, text=text))

    def part(self, name: str) -> ReportedProgress:
        """Return a bar of its own for a part of the publication."""
        return ReportedProgress(self._watch, self._recipe, f"{self._step}, {name}")

    def ended(self, error: PipelineError | None) -> None:
        """Show how it ended."""
        seconds = time.monotonic() - self._began
        if error is None:
            self._watch.event(events.StepFinished(recipe=self._recipe, step=self._step, seconds=seconds))
            return
        self._watch.event(
            events.StepFailed(
                recipe=self._recipe,
                step=self._step,
                message=error.message,
                hint=error.hint,
                details=error.details,
                seconds=seconds,
                log=None,
                evidence=None,
            )
        )
