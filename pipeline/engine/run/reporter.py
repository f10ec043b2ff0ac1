"""Report what happens in a run: to its monitors, to the history, and to the build's own state.

Decides nothing: what starts, waits and ends is the run's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.engine.cache.store import UnitOutcome
from pipeline.engine.monitors.units import duration
from pipeline.engine.record import events
from pipeline.engine.record.history import BuildHistory
from pipeline.engine.record.journal import RunJournal
from pipeline.engine.record.result import BuildResult, StepResult, StepStatus
from pipeline.engine.run.deadlines import DeadlineWatch
from pipeline.engine.run.state import BuildState, UnitState
from pipeline.engine.run.worker_handle import event_of
from pipeline.engine.units.graph import edges


class Reporter:
    """The voice of one run. The journal hears everything first."""

    def __init__(self, journal: RunJournal, history: BuildHistory, monitors: Sequence[events.Monitor]) -> None:
        self.journal = journal
        self.history = history
        self.deadline_watch = DeadlineWatch(history)
        self._monitors = (journal, *monitors)

    def report(self, event: events.Event) -> None:
        """Tell everybody."""
        for monitor in self._monitors:
            monitor.event(event)

    def tick(self) -> None:
        """Report what is slower than usual, and let clocks move on."""
        for recipe, step, usual in self.deadline_watch.slow():
            self.report(
                events.StepSaid(recipe=recipe, step=step, text=f"slower than usual ({duration(usual)} are usual)")
            )
        for monitor in self._monitors:
            monitor.tick()

    def close(self) -> None:
        """Close the monitors: nothing more will be reported."""
        for monitor in self._monitors:
            monitor.close()

    def begun(self, build: BuildState) -> None:
        """Report that a recipe's build begins."""
        name = build.recipe.name
        units = [state.unit for state in build.units.values()]
        pairs = edges(units)
        steps = [entry.name for unit in units for entry in unit.entries]
        ahead = tuple(
            events.StepAhead(
                step, tuple(one for one, other in pairs if other == step), self.deadline_watch.expected(name, step)
            )
            for step in steps
        )
        self.report(events.BuildStarted(recipe=name, steps=ahead))

    def waits(self, state: UnitState, reason: str) -> None:
        """Report that the unit cannot start yet."""
        if state.waits_for != reason:
            state.waits_for = reason
            first = state.unit.entries[0].name
            self.report(events.StepWaiting(recipe=state.unit.recipe.name, step=first, reason=reason))

    def cached(self, build: BuildState, state: UnitState, outcome: UnitOutcome) -> None:
        """Report that the unit's outcome was in the cache already."""
        state.outcome = outcome
        for entry in state.unit.entries:
            seconds = outcome.seconds.get(entry.name, 0.0)
            state.steps[entry.name] = StepResult(entry.name, str(entry.stage), StepStatus.CACHED, seconds)
            self.report(events.StepCached(recipe=build.recipe.name, step=entry.name, seconds=seconds))
        self.history.remember(build.recipe.name, state.unit.name, state.key, outcome.document)

    def reported(self, build: BuildState, state: UnitState, message: dict[str, Any]) -> None:
        """Report what the unit's worker has said."""
        recipe, step = build.recipe.name, message["step"]
        expected = self.deadline_watch.begin(recipe, step) if message["kind"] == "started" else None
        if message["kind"] == "finished":
            self.deadline_watch.end(recipe, step)
            log = self.journal.log(recipe, step)
            state.steps[step] = StepResult(step, str(state.unit.stage), StepStatus.RAN, message["seconds"], log)
        event = event_of(recipe, message, expected)
        if event is not None:
            self.report(event)

    def made(self, build: BuildState, state: UnitState, outcome: UnitOutcome) -> None:
        """Report that the unit was done."""
        state.outcome = outcome
        for name, seconds in outcome.seconds.items():
            self.history.note(build.recipe.name, name, outcome.accelerator, seconds, outcome.run, good=True)
        self.history.remember(build.recipe.name, state.unit.name, state.key, outcome.document)

    def failed(self, build: BuildState, state: UnitState, step: str, error: PipelineError, seconds: float) -> None:
        """Report that the unit could not be done; the build fails with the first such error."""
        state.failed = True
        name = build.recipe.name
        self.deadline_watch.end(name, step)
        log, evidence = self.journal.log(name, step), self.journal.evidence(name, step)
        has_log, has_evidence = log.is_file(), evidence.is_dir()
        places = [f"log: {log}"] * has_log + [f"evidence: {evidence}"] * has_evidence
        failure = PipelineError(
            f"{name}: {step} failed: {error.message}", hint=error.hint, details=[*error.details, *places]
        )
        state.steps[step] = StepResult(
            step, str(state.unit.stage), StepStatus.FAILED, seconds, log if has_log else None, failure
        )
        self.report(
            events.StepFailed(
                recipe=name,
                step=step,
                message=error.message,
                hint=error.hint,
                details=error.details,
                seconds=seconds,
                log=str(log) if has_log else None,
                evidence=str(evidence) if has_evidence else None,
            )
        )
        if build.error is None:
            build.error = failure
            build.evidence = evidence if has_evidence else None

    def unprepared(self, build: BuildState, error: PipelineError) -> None:
        """Report that the build failed before any of its steps could be decided."""
        build.error = error
        build.units.clear()
        self.report(
            events.StepFailed(
                recipe=build.recipe.name,
                step="prepare",
                message=error.message,
                hint=error.hint,
                details=error.details,
                seconds=0.0,
                log=None,
                evidence=None,
            )
        )

    def ended(self, result: BuildResult, *, interrupted: bool) -> None:
        """Report that a recipe's build is over."""
        self.report(
            events.BuildFinished(
                recipe=result.recipe.name,
                good=result.is_good,
                changed=result.changed,
                seconds=result.seconds,
                products=tuple(str(product.path) for product in result.products),
                interrupted=interrupted and not result.is_good,
            )
        )
