"""Print a line for everything that matters: for logs, pipes and terminals that can't move their cursor."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TextIO

from pipeline.base.plain_text import one_line
from pipeline.engine.monitors.units import duration, measure
from pipeline.engine.record import events

# A step that goes on shows so this often, in seconds.
_EVERY = 15.0


class Plain:
    """Writes lines to a stream."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self._begun: dict[tuple[str, str], float] = {}
        self._shown: dict[tuple[str, str], float] = {}
        self._progress: dict[tuple[str, str], str] = {}

    def event(self, event: events.Event) -> None:
        """Write its line, if it has one."""
        for line in self.lines(event):
            print(one_line(line), file=self.stream, flush=True)

    def tick(self) -> None:
        """Say of each running step, now and then, that it still runs and how far it is."""
        now = time.monotonic()
        for (recipe, step), last in list(self._shown.items()):
            if now - last >= _EVERY:
                self._shown[recipe, step] = now
                how_far = self._progress.get((recipe, step)) or f"for {duration(now - self._begun[recipe, step])} now"
                print(f"{recipe}: {step}: … {how_far}", file=self.stream, flush=True)

    def close(self) -> None:
        """Do nothing: there is nothing to put in order."""

    def lines(self, event: events.Event) -> Iterator[str]:
        """Yield what to write for an event."""
        match event:
            case events.RunNoted(text=text):
                yield text
            case events.StepCached(recipe=recipe, step=step):
                yield f"{recipe}: {step}: cached"
            case events.StepWaiting(recipe=recipe, step=step, reason=reason):
                yield f"{recipe}: {step}: {reason}"
            case events.StepStarted(recipe=recipe, step=step, expected=expected):
                self._begun[recipe, step] = self._shown[recipe, step] = time.monotonic()
                yield f"{recipe}: {step}: started" + (f" (usually {duration(expected)})" if expected else "")
            case events.StepProgress():
                self._progress[event.recipe, event.step] = measure(event.done, event.total, event.unit)
            case events.StepSaid(recipe=recipe, step=step, text=text):
                yield f"{recipe}: {step}: {text}"
            case events.StepFinished(recipe=recipe, step=step, seconds=seconds):
                self._forget(event)
                yield f"{recipe}: {step}: done in {duration(seconds)}"
            case events.StepFailed():
                self._forget(event)
                yield from failure(event)
            case events.BuildFinished():
                yield finished(event)

    def _forget(self, event: events.StepEvent) -> None:
        self._begun.pop((event.recipe, event.step), None)
        self._shown.pop((event.recipe, event.step), None)
        self._progress.pop((event.recipe, event.step), None)


def failure(event: events.StepFailed) -> Iterator[str]:
    """Yield a failed step in full: what failed, where its log and evidence are, what to do next."""
    yield f"{event.recipe}: {event.step}: failed after {duration(event.seconds)}: {event.message}"
    for detail in event.details:
        yield f"    {detail}"
    if event.log:
        yield f"    log:      {event.log}"
    if event.evidence:
        yield f"    evidence: {event.evidence}"
    if event.hint:
        yield f"    hint:     {event.hint}"


def finished(event: events.BuildFinished) -> str:
    """Return how a build ended."""
    if event.interrupted:
        return f"{event.recipe}: interrupted after {duration(event.seconds)}; the next run goes on from here"
    if not event.good:
        return f"{event.recipe}: failed after {duration(event.seconds)}"
    if not event.changed:
        return f"{event.recipe}: nothing changed ({duration(event.seconds)})"
    return f"{event.recipe}: built in {duration(event.seconds)}"
