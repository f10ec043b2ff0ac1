"""The run: starts every unit as soon as what it needs is there, watches the workers, and ends in order.

One thread, one loop. Units run in processes of their own; what they report becomes events for the monitors. A unit
whose key is being made by another process waits for it and takes over its outcome.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.engine import events, keys
from pipeline.engine.assemble import assemble, summary
from pipeline.engine.entry import Entry
from pipeline.engine.freshness import current
from pipeline.engine.history import History
from pipeline.engine.interrupts import Interrupts
from pipeline.engine.journal import Journal
from pipeline.engine.junit import report
from pipeline.engine.lock_file import LockFile
from pipeline.engine.monitors.words import duration
from pipeline.engine.options import BuildOptions
from pipeline.engine.pace import Pace, deadlines
from pipeline.engine.reap import temporary_folder
from pipeline.engine.resources import Resources
from pipeline.engine.result import BuildResult, StepResult, StepStatus
from pipeline.engine.running import Running, event_of
from pipeline.engine.state import BuildState, UnitState
from pipeline.engine.store import Outcome, Store
from pipeline.engine.worker import Task
from pipeline.engine.workplace import Workplace
from pipeline.recipes.model import Recipe

_BEAT = 0.1  # seconds between two looks at what waits


class Run:
    """One run over some recipes."""

    def __init__(
        self,
        recipes: Sequence[Recipe],
        steps: Sequence[Entry],
        store: Store,
        journal: Journal,
        history: History,
        options: BuildOptions,
        noted: Sequence[str] = (),
    ) -> None:
        self.store = store
        self.journal = journal
        self.history = history
        self.options = options
        self.steps = steps
        self.builds = [BuildState.start(recipe, steps) for recipe in recipes]
        self.resources = Resources.of_this_machine(store.root, options.guests)
        self.noted = noted
        self.pace = Pace(history)
        self.running: dict[str, tuple[BuildState, UnitState, Running]] = {}
        self.selector = selectors.DefaultSelector()
        self.interrupts = Interrupts(self._stop_all, self._kill_now)
        self._begun = time.monotonic()

    def work(self) -> list[BuildResult]:
        """Do everything; return the results in the recipes' order."""
        names = tuple(build.recipe.name for build in self.builds)
        run = self.journal.run
        try:
            with self.interrupts.caught():
                self._tell(events.RunStarted(run=run, folder=str(self.journal.folder), recipes=names))
                for text in self.noted:
                    self._tell(events.RunNoted(text=text))
                self._look_outside()
                while self._start_what_can() or self.running or self._open():
                    self._listen()
                results = [self._result(build) for build in self.builds]
                good = all(result.is_good for result in results)
                self._tell(events.RunFinished(run=run, good=good, seconds=time.monotonic() - self._begun))
                status = "interrupted" if self.interrupts else "good" if good else "failed"
                self.journal.finish(
                    status, {result.recipe.name: summary(result) for result in results}, report(results)
                )
        finally:
            self._kill_all()
            for monitor in self._monitors():
                monitor.close()
            self.selector.close()
        self.interrupts.pass_on()
        return results

    def _look_outside(self) -> None:
        """Find out what there is to build from; a recipe that can't know fails alone."""
        options = self.options
        for build in self.builds:
            if build.error is not None:
                continue
            lock = LockFile(options.locks, build.recipe.name)
            try:
                build.locked, news = current(
                    build.recipe, self.steps, lock, fresh=options.fresh, locked=options.locked or options.offline
                )
            except PipelineError as error:
                build.error = error
                build.units.clear()
            else:
                for text in news:
                    self._tell(events.RunNoted(text=text))

    # What can start

    def _start_what_can(self) -> bool:
        """Decide or start every unit whose needs are met; say whether anything came closer to its end."""
        moved = False
        for build in self.builds:
            for state in build.units.values():
                if build.can_start(state) and not (self.interrupts or self._is_crowded()):
                    moved |= self._advance(build, state)
            if build.ended is None and (build.is_over or (self.interrupts and not self._runs(build))):
                self._end(build)
        return moved

    def _advance(self, build: BuildState, state: UnitState) -> bool:
        """Take the unit's outcome from the store, or start to make it. False while it has to wait."""
        try:
            build.decide(state)
            outcome = self.store.find(state.key)
            if outcome is None:
                return self._start(build, state)
        except PipelineError as error:
            step = error.step if isinstance(error, keys.InputMissing) else state.unit.entries[0].name
            self._fail(build, state, step, error, 0.0)
            return True
        self._cached(build, state, outcome)
        return True

    def _start(self, build: BuildState, state: UnitState) -> bool:
        unit, needs = state.unit, state.unit.resources
        self.resources.check(unit.id, needs)
        lock = self.store.lock(state.key, f"building {unit.id}")
        if lock is None:
            self._wait(state, f"{self.store.maker(state.key)} makes it already")
            return False
        if (outcome := self.store.find(state.key)) is not None:
            # Made by another process between our look and our lock.
            lock.release()
            self._cached(build, state, outcome)
            return True
        if not self.resources.take(unit.id, needs):
            lock.release()
            self._wait(state, "waits for memory, disk or a guest's end")
            return False
        running = Running.start(self._task(build, state), lock)
        self.selector.register(running.reader, selectors.EVENT_READ)
        state.running, state.waits_for = True, ""
        self.running[unit.id] = (build, state, running)
        return True

    def _task(self, build: BuildState, state: UnitState) -> Task:
        unit, recipe = state.unit, build.recipe.name
        names = [entry.name for entry in unit.entries]
        place = Workplace.name(self.store, unit.id)
        return Task(
            unit=unit,
            key=state.key,
            document=state.document or {},
            base=build.disk(),
            products=build.products(),
            facts=build.facts(),
            locked={name: asdict(found) for name, found in build.locked.items()},
            offline=self.options.offline,
            home=self.options.home,
            store=self.store,
            place=place,
            temporary=temporary_folder(place.mark),
            run=self.journal.run,
            logs={name: self.journal.log(recipe, name) for name in names},
            evidence={name: self.journal.evidence(recipe, name) for name in names},
            deadlines={entry.name: deadlines(entry, recipe, self.history) for entry in unit.entries},
            accelerator=self.options.accelerator,
            origins=build.origins(),
        )

    def _wait(self, state: UnitState, reason: str) -> None:
        if state.waits_for != reason:
            state.waits_for = reason
            first = state.unit.entries[0].name
            self._tell(events.StepWaiting(recipe=state.unit.recipe.name, step=first, reason=reason))

    def _cached(self, build: BuildState, state: UnitState, outcome: Outcome) -> None:
        state.outcome = outcome
        for entry in state.unit.entries:
            seconds = outcome.seconds.get(entry.name, 0.0)
            state.steps[entry.name] = StepResult(entry.name, str(entry.stage), StepStatus.CACHED, seconds)
            self._tell(events.StepCached(recipe=build.recipe.name, step=entry.name, seconds=seconds))
        self.history.remember(build.recipe.name, state.unit.name, state.key, outcome.document)

    # What runs

    def _listen(self) -> None:
        """Wait a moment for reports; pass them on; bury workers that have ended."""
        if self.running:
            self.selector.select(_BEAT)
        elif self._open():
            time.sleep(_BEAT)
        for build, state, running in list(self.running.values()):
            over = running.is_over()  # before the last reports are read, lest some come in between
            for told in running.reports():
                self._pass_on(build, state, told)
            if over:
                self._bury(build, state, running)
            else:
                running.enforce()
        for recipe, step, usual in self.pace.slow():
            text = f"slower than usual ({duration(usual)})"
            self._tell(events.StepSaid(recipe=recipe, step=step, text=text))
        for monitor in self._monitors():
            monitor.tick()

    def _pass_on(self, build: BuildState, state: UnitState, told: dict[str, Any]) -> None:
        recipe, step = build.recipe.name, told["step"]
        expected = self.pace.begin(recipe, step) if told["kind"] == "started" else None
        if told["kind"] == "finished":
            self.pace.end(recipe, step)
            log = self.journal.log(recipe, step)
            state.steps[step] = StepResult(step, str(state.unit.stage), StepStatus.RAN, told["seconds"], log)
        event = event_of(recipe, told, expected)
        if event is not None:
            self._tell(event)

    def _bury(self, build: BuildState, state: UnitState, running: Running) -> None:
        unit, task = state.unit, running.task
        self.selector.unregister(running.reader)
        running.bury()
        del self.running[unit.id]
        state.running, state.ran = False, True
        self.journal.tidy(build.recipe.name)
        outcome = self.store.find(state.key) if running.committed else None
        if outcome is None and self.options.keep and not self.interrupts:
            self._keep(running)
        task.place.clear()
        running.lock.release()
        self.resources.give_back(unit.id)
        if outcome is None:
            error, seconds = running.explain()
            self._fail(build, state, running.step, error, seconds)
            return
        state.outcome = outcome
        for name, seconds in outcome.seconds.items():
            self.history.note(build.recipe.name, name, outcome.accelerator, seconds, task.run, good=True)
        self.history.remember(build.recipe.name, unit.name, state.key, outcome.document)

    def _keep(self, running: Running) -> None:
        kept = running.task.place.keep(running.task.run, running.task.base)
        if kept is not None and running.failure is not None:
            running.failure["details"] += [
                f"the disk as it was is kept: {kept}",
                f"look inside:  guestfish --ro -i -a {kept}",
                f"boot a copy:  qemu-system-x86_64 -m 1024 -snapshot -drive file={kept},if=virtio -nographic",
            ]

    def _fail(self, build: BuildState, state: UnitState, step: str, error: PipelineError, seconds: float) -> None:
        state.failed = True
        self.pace.end(build.recipe.name, step)
        name = build.recipe.name
        log = self.journal.log(name, step)
        evidence = self.journal.evidence(name, step)
        has_log, has_evidence = log.is_file(), evidence.is_dir()
        state.steps[step] = StepResult(
            step, str(state.unit.stage), StepStatus.FAILED, seconds, log if has_log else None
        )
        self._tell(
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
            places = [f"log: {log}"] * has_log + [f"evidence: {evidence}"] * has_evidence
            build.error = PipelineError(
                f"{name}: {step} failed: {error.message}", hint=error.hint, details=[*error.details, *places]
            )
            build.evidence = evidence if has_evidence else None

    # The end

    def _end(self, build: BuildState) -> None:
        build.ended = time.monotonic()
        if self.interrupts and build.error is None and any(state.outcome is None for state in build.units.values()):
            build.error = PipelineError(f"{build.recipe.name}: interrupted", hint="the next run goes on from here")
        result = self._result(build)
        self._tell(
            events.BuildFinished(
                recipe=build.recipe.name,
                good=result.is_good,
                changed=result.changed,
                seconds=result.seconds,
                products=tuple(str(product.path) for product in result.products),
            )
        )

    def _result(self, build: BuildState) -> BuildResult:
        return assemble(build, self.store, self.journal.run)

    def _open(self) -> bool:
        return any(build.ended is None for build in self.builds)

    def _runs(self, build: BuildState) -> bool:
        return any(state.running for state in build.units.values())

    def _is_crowded(self) -> bool:
        return self.options.jobs is not None and len(self.running) >= self.options.jobs

    def _tell(self, event: events.Event) -> None:
        for monitor in self._monitors():
            monitor.event(event)

    def _monitors(self) -> Sequence[events.Monitor]:
        return (self.journal, *self.options.monitors)

    def _stop_all(self) -> None:
        for _, _, running in list(self.running.values()):
            running.stop()

    def _kill_now(self) -> None:
        for _, _, running in list(self.running.values()):
            running.kill()

    def _kill_all(self) -> None:
        """Only what an exception in this loop itself leaves running."""
        self._kill_now()
        for _, _, running in self.running.values():
            while not running.is_over():
                time.sleep(0.01)
            running.bury()
            running.task.place.clear()
            running.lock.release()
        self.running.clear()
