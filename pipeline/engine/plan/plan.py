"""Plan a build: what it would do, and why, without doing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.engine.cache.store import CacheStore
from pipeline.engine.keys import content_key
from pipeline.engine.keys.freshness import known
from pipeline.engine.keys.key_diff import changes
from pipeline.engine.keys.lock_file import LockFile
from pipeline.engine.record.history import BuildHistory
from pipeline.engine.run.state import BuildState, UnitState
from pipeline.engine.units.graph import Unit, edges, units
from pipeline.engine.units.resources import Needs
from pipeline.engine.units.step_entry import StepEntry
from pipeline.recipes.model.recipe import Recipe


class PlannedAction(StrEnum):
    """What a build would do with a step."""

    CACHED = "cached"
    RUN = "run"
    BLOCKED = "blocked"


@dataclass(frozen=True)
class PlannedStep:
    """One step. ``reason`` says why in a few words, ``changes`` which inputs changed; ``seconds`` is what it took

    before, or ``None`` if it never ran here.
    """

    name: str
    stage: str
    verdict: PlannedAction
    reason: str
    changes: tuple[str, ...]
    seconds: float | None


@dataclass(frozen=True)
class Plan:
    """One recipe's build. ``error`` is set when it cannot even be planned."""

    recipe: str
    steps: tuple[PlannedStep, ...]
    needs: Needs
    edges: tuple[tuple[str, str], ...] = ()
    error: str | None = None

    @property
    def seconds(self) -> float | None:
        """How long the steps to run took before, one after the other; ``None`` if that isn't known for all."""
        known = [step.seconds for step in self.steps if step.verdict is PlannedAction.RUN]
        return None if None in known else sum(seconds for seconds in known if seconds is not None)

    @property
    def is_blocked(self) -> bool:
        """Whether a build would fail for something that is missing."""
        return self.error is not None or any(step.verdict is PlannedAction.BLOCKED for step in self.steps)

    @property
    def nothing_to_do(self) -> bool:
        """Whether every step is cached."""
        return self.error is None and all(step.verdict is PlannedAction.CACHED for step in self.steps)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {**asdict(self), "seconds": self.seconds, "nothing_to_do": self.nothing_to_do}


def plan(recipe: Recipe, steps: Sequence[StepEntry], store: CacheStore, history: BuildHistory, lock: LockFile) -> Plan:
    """Return what a build of ``recipe`` would do now, from what is locked: nothing outside is looked at."""
    try:
        parts = units(recipe, steps)
        locked = known(recipe, steps, lock)
    except PipelineError as error:
        return Plan(recipe.name, (), Needs(0, 0, 0), error=str(error))
    build = BuildState(recipe, {unit.name: UnitState(unit) for unit in parts}, locked)
    planned: list[PlannedStep] = []
    needs = Needs(0, 0, 0)
    for state in build.units.values():
        found = _plan_unit(build, state, store, history)
        planned += found
        if any(step.verdict is PlannedAction.RUN for step in found):
            needs |= state.unit.resources
    return Plan(recipe.name, tuple(planned), needs, tuple(edges(parts)))


def cached_keys(recipe: Recipe, steps: Sequence[StepEntry], store: CacheStore, lock: LockFile) -> list[str]:
    """Return the keys of all outcomes that a build of ``recipe`` would take from the cache now."""
    build = BuildState(
        recipe, {unit.name: UnitState(unit) for unit in units(recipe, steps)}, known(recipe, steps, lock)
    )
    for state in build.units.values():
        if build.can_start(state):
            build.decide(state)
            state.outcome = store.find(state.key)
    return [state.key for state in build.units.values() if state.outcome]


def _plan_unit(build: BuildState, state: UnitState, store: CacheStore, history: BuildHistory) -> list[PlannedStep]:
    unit = state.unit
    missing = [name for name in unit.needs if build.units[name].outcome is None]
    try:
        if missing:
            document = content_key.document(str(unit.stage), {}, unit.entries, build.recipe, build.locked)
        else:
            build.decide(state)
            document = state.document or {}
            state.outcome = store.peek(state.key)
            if state.outcome and not all(path.is_file() for path in store.files(state.outcome)):
                state.outcome = None
    except content_key.NotLookedUp as error:
        # A build looks first; what it will find nobody knows.
        return _all(build, unit, PlannedAction.RUN, error.message, history)
    except content_key.InputMissing as error:
        state.failed = True
        return [_blocked(unit, entry, error, history) for entry in unit.entries]
    if blocked := [name for name in unit.needs if build.units[name].failed]:
        state.failed = True
        return _all(build, unit, PlannedAction.BLOCKED, f"{blocked[0]} is blocked", history)
    if state.outcome is not None:
        outcome = state.outcome
        return [
            _step(unit, entry, PlannedAction.CACHED, "", (), outcome.seconds.get(entry.name)) for entry in unit.entries
        ]
    latest = history.latest(build.recipe.name, unit.name)
    if missing:
        document.pop("base")
    changed = tuple(changes(latest, document)) if latest else ()
    reason = _reason(latest is not None, missing, changed)
    if latest and missing and not changed and unit.about_a_part:
        reason = f"{reason}; not this, if the part it is about stays as it is"
    return [
        _step(unit, entry, PlannedAction.RUN, reason, _of(entry, changed), _usual(build, entry, history))
        for entry in unit.entries
    ]


def _all(
    build: BuildState, unit: Unit, verdict: PlannedAction, reason: str, history: BuildHistory
) -> list[PlannedStep]:
    return [_step(unit, entry, verdict, reason, (), _usual(build, entry, history)) for entry in unit.entries]


def _reason(known: bool, missing: list[str], changed: tuple[str, ...]) -> str:
    if not known:
        return "never built here"
    if changed:
        return "its inputs changed"
    return f"{missing[0]} runs" if missing else "its result is no longer in the cache"


def _of(entry: StepEntry, changed: tuple[str, ...]) -> tuple[str, ...]:
    """Return the changes of one step: all that name it, and those that name none."""
    return tuple(line for line in changed if line.startswith((f"{entry.name}.", f"{entry.name}:")) or ":" not in line)


def _blocked(unit: Unit, entry: StepEntry, error: content_key.InputMissing, history: BuildHistory) -> PlannedStep:
    usual = _usual_of(unit.recipe.name, entry, history)
    if entry.name == error.step:
        hint = f" ({error.hint})" if error.hint else ""
        return _step(unit, entry, PlannedAction.BLOCKED, f"{error.message}{hint}", error.details, usual)
    return _step(unit, entry, PlannedAction.BLOCKED, f"runs together with {error.step}", (), usual)


def _step(
    unit: Unit, entry: StepEntry, verdict: PlannedAction, reason: str, changed: tuple[str, ...], seconds: float | None
) -> PlannedStep:
    return PlannedStep(entry.name, str(unit.stage), verdict, reason, changed, seconds)


def _usual(build: BuildState, entry: StepEntry, history: BuildHistory) -> float | None:
    return _usual_of(build.recipe.name, entry, history)


def _usual_of(recipe: str, entry: StepEntry, history: BuildHistory) -> float | None:
    usual = history.usual(recipe, entry.name)
    return usual.median if usual else None
