"""Describe a run by its events."""

from __future__ import annotations

from pipeline.engine.record import events
from pipeline.engine.record.events import Event

A_RUN: list[Event] = [
    events.RunStarted(run="r1", folder="/runs/r1", recipes=("tiny",)),
    events.RunNoted(text="removed a leftover"),
    events.BuildStarted(recipe="tiny", steps=(events.StepAhead("install", (), 9.0),)),
    events.StepCached(recipe="tiny", step="install", seconds=9.0),
    events.StepWaiting(recipe="tiny", step="convert", reason="waits for process 7 (building tiny)"),
    events.StepStarted(recipe="tiny", step="convert", log="/l", expected=3.0),
    events.StepProgress(recipe="tiny", step="convert", done=1 << 20, total=2 << 20, unit="B"),
    events.StepSaid(recipe="tiny", step="convert", text="writing raw"),
    events.StepFinished(recipe="tiny", step="convert", seconds=2.5),
    events.StepStarted(recipe="tiny", step="boot", log="/l"),
    events.StepFailed(
        recipe="tiny",
        step="boot",
        message="no [carrier]",
        hint="plug it in",
        details=("a detail",),
        seconds=1.0,
        log="/runs/r1/tiny/boot.log",
        evidence="/runs/r1/tiny/evidence/boot",
    ),
    events.BuildFinished(recipe="tiny", good=False, changed=True, seconds=4.0, products=()),
    events.RunFinished(run="r1", good=False, seconds=4.0),
]


def ahead(**expected: float | None) -> tuple[events.StepAhead, ...]:
    """install, then boot and scan side by side, then sign."""
    after = {"boot": ("install",), "scan": ("install",), "sign": ("boot", "scan")}
    return tuple(events.StepAhead(name, after.get(name, ()), seconds) for name, seconds in expected.items())
