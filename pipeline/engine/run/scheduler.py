"""Schedule a run: start every unit as soon as what it needs exists, watch the workers, and end in order.

One thread, one loop. Units run in processes of their own; what they report becomes events for the monitors. A unit
whose key is being made by another process waits for it and takes over its outcome.
"""

from __future__ import annotations

import contextlib
import functools
import selectors
import time
from collections.abc import Sequence
from dataclasses import asdict

from pipeline.base.errors import PipelineError
from pipeline.engine.cache.store import CacheStore
from pipeline.engine.cache.workdir import Workdir, commands
from pipeline.engine.keys import content_key
from pipeline.engine.keys.freshness import current
from pipeline.engine.keys.key_diff import explain_changes
from pipeline.engine.keys.lock_file import LockFile
from pipeline.engine.keys.parallel import LookupsInterrupted, ReportingWait
from pipeline.engine.record import events
from pipeline.engine.record.history import BuildHistory
from pipeline.engine.record.journal import RunJournal
from pipeline.engine.record.junit import report
from pipeline.engine.record.result import BuildResult
from pipeline.engine.run.collect import collect, summary
from pipeline.engine.run.deadlines import deadlines
from pipeline.engine.run.options import BuildOptions
from pipeline.engine.run.reap import temporary_folder
from pipeline.engine.run.reporter import Reporter
from pipeline.engine.run.signals import SignalHandler
from pipeline.engine.run.state import BuildState, UnitState
from pipeline.engine.run.task import WorkerTask
from pipeline.engine.run.worker_handle import WorkerHandle
from pipeline.engine.units.resources import Resources
from pipeline.engine.units.step_entry import StepEntry
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.step import Prepares

_BEAT = 0.1  # seconds between two looks at what waits
_ENDING = "interrupted: what runs cleans up and ends, what is whole is kept; once more (Ctrl-C) ends it at once"


class Run:
    """One run over some recipes."""

    def __init__(
        self,
        recipes: Sequence[Recipe],
        steps: Sequence[StepEntry],
        store: CacheStore,
        journal: RunJournal,
        history: BuildHistory,
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
        self.reporter = Reporter(journal, history, options.monitors)
        self.running: dict[str, tuple[BuildState, UnitState, WorkerHandle]] = {}
        self.selector = selectors.DefaultSelector()
        self.interrupts = SignalHandler(self._stop_all, self._kill_now)
        self._begun = time.monotonic()
        self._told_of_interrupt = False

    def work(self) -> list[BuildResult]:
        """Do everything; return the results in the recipes' order.

        Raises ``PipelineError`` when the run itself cannot go on (its folder is gone, no space for its journal).
        """
        try:
            try:
                results = self._work()
            finally:
                self._leave_nothing()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._broken_off(error) from error
        self.interrupts.pass_on()
        return results

    def _work(self) -> list[BuildResult]:
        names = tuple(build.recipe.name for build in self.builds)
        run, tell = self.journal.run, self.reporter.report
        with self.interrupts.caught():
            tell(events.RunStarted(run=run, folder=str(self.journal.folder), recipes=names))
            for text in self.noted:
                tell(events.RunNoted(text=text))
            self._look_outside()
            while self._start_what_can() or self.running or self._open():
                self._listen()
            results = [self._result(build) for build in self.builds]
            good = all(result.is_good for result in results)
            tell(events.RunFinished(run=run, good=good, seconds=time.monotonic() - self._begun))
            status = "interrupted" if self.interrupts else "good" if good else "failed"
            self.journal.finish(status, {result.recipe.name: summary(result) for result in results}, report(results))
        return results

    def _broken_off(self, error: OSError) -> PipelineError:
        location = f"{error.filename}: " if error.filename else ""
        return PipelineError(
            f"the run cannot go on: {location}{error.strerror or error}",
            hint=f"is {self.journal.folder} still there, and is there space? What was whole is kept for the next run",
        )

    def _look_outside(self) -> None:
        """Find out what there is to build from; a recipe that can't know fails alone."""
        options = self.options
        for build in self.builds:
            try:
                if build.error is not None:
                    raise build.error
                self._prepare(build.recipe)
                lock = LockFile(options.locks, build.recipe.name)
                wait = ReportingWait(functools.partial(self._note, build), lambda: bool(self.interrupts))
                build.locked, news = current(build.recipe, self.steps, lock, options.look, wait)
            except LookupsInterrupted:
                return
            except PipelineError as error:
                self.reporter.unprepared(build, error)
            else:
                self.reporter.begun(build)
                for text in news:
                    self.reporter.report(events.RunNoted(text=text))

    def _note(self, build: BuildState, text: str) -> None:
        self.reporter.report(events.RunNoted(text=f"{build.recipe.name}: {text}"))

    def _prepare(self, recipe: Recipe) -> None:
        for entry in self.steps:
            if isinstance(entry.step, Prepares) and entry.step.applies_to(recipe):
                entry.step.prepare(recipe, self.options.home)

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
            step = error.step if isinstance(error, content_key.InputMissing) else state.unit.entries[0].name
            self.reporter.failed(build, state, step, error, 0.0)
            return True
        self.reporter.cached(build, state, outcome)
        return True

    def _start(self, build: BuildState, state: UnitState) -> bool:
        unit, needs = state.unit, state.unit.resources
        self.resources.check(unit.id, needs)
        lock = self.store.lock(state.key, f"building {unit.id}")
        if lock is None:
            self.reporter.waits(state, f"waits for {self.store.maker(state.key)}")
            return False
        if (outcome := self.store.find(state.key)) is not None:
            # Made by another process between our look and our lock.
            lock.release()
            self.reporter.cached(build, state, outcome)
            return True
        if not self.resources.take(unit.id, needs):
            lock.release()
            self.reporter.waits(state, "waits for memory, disk or a guest's end")
            return False
        state.why = explain_changes(self.history.latest(build.recipe.name, unit.name), state.document or {})
        running = WorkerHandle.start(self._task(build, state), lock)
        self.selector.register(running.reader, selectors.EVENT_READ)
        state.running, state.waits_for = True, ""
        self.running[unit.id] = (build, state, running)
        return True

    def _task(self, build: BuildState, state: UnitState) -> WorkerTask:
        unit, recipe = state.unit, build.recipe.name
        names = [entry.name for entry in unit.entries]
        location = Workdir.name(self.store, unit.id)
        return WorkerTask(
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
            location=location,
            temporary=temporary_folder(location.mark),
            run=self.journal.run,
            logs={name: self.journal.log(recipe, name) for name in names},
            evidence={name: self.journal.evidence(recipe, name) for name in names},
            deadlines={entry.name: deadlines(entry, recipe, self.history) for entry in unit.entries},
            accelerator=self.options.accelerator,
            origins=build.origins(),
        )

    # What runs

    def _listen(self) -> None:
        """Wait a moment for reports; pass them on; reap workers that have ended."""
        if self.interrupts and self.running and not self._told_of_interrupt:
            self._told_of_interrupt = True
            self.reporter.report(events.RunNoted(text=_ENDING))
        if self.running:
            self.selector.select(_BEAT)
        elif self._open():
            time.sleep(_BEAT)
        for build, state, running in list(self.running.values()):
            over = running.is_over()  # before the last reports are read, lest some come in between
            for message in running.reports():
                self.reporter.reported(build, state, message)
            if over:
                self._reap(build, state, running)
            else:
                running.enforce()
        self.reporter.tick()

    def _reap(self, build: BuildState, state: UnitState, running: WorkerHandle) -> None:
        unit = state.unit
        self.selector.unregister(running.reader)
        running.end()
        state.running, state.ran = False, True
        self.journal.tidy(build.recipe.name)
        outcome = self.store.find(state.key) if running.committed else None
        if outcome is None and self.options.keep and not self.interrupts:
            self._keep(running)
        running.reap()
        del self.running[unit.id]
        self.resources.give_back(unit.id)
        if outcome is None:
            error, seconds = running.explain()
            self.reporter.failed(build, state, running.step, error, seconds)
        else:
            self.reporter.made(build, state, outcome)

    def _keep(self, running: WorkerHandle) -> None:
        kept = running.task.location.keep(running.task.run, running.task.base)
        if kept is not None and running.failure is not None:
            running.failure["details"] += commands(kept, running.accelerator or "tcg")

    # The end

    def _end(self, build: BuildState) -> None:
        build.ended = time.monotonic()
        if self.interrupts and build.error is None and any(state.outcome is None for state in build.units.values()):
            build.error = PipelineError(f"{build.recipe.name}: interrupted", hint="the next run goes on from here")
        self.reporter.ended(self._result(build), interrupted=bool(self.interrupts))

    def _result(self, build: BuildState) -> BuildResult:
        return collect(build, self.store, self.journal.run)

    def _open(self) -> bool:
        return any(build.ended is None for build in self.builds)

    def _runs(self, build: BuildState) -> bool:
        return any(state.running for state in build.units.values())

    def _is_crowded(self) -> bool:
        return self.options.jobs is not None and len(self.running) >= self.options.jobs

    def _stop_all(self) -> None:
        for _, _, running in list(self.running.values()):
            running.stop()

    def _kill_now(self) -> None:
        for _, _, running in list(self.running.values()):
            running.kill()

    def _leave_nothing(self) -> None:
        """Whatever went wrong in this loop, no worker outlives it; nor does one that cannot be buried save others."""
        with contextlib.ExitStack() as stack:
            stack.callback(self.selector.close)
            stack.callback(self.reporter.close)
            for _, _, running in self.running.values():
                stack.callback(running.reap)
            stack.callback(self._kill_now)
