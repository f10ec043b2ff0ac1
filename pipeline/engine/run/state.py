"""Track where one recipe's build stands while it runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.engine.cache.store import UnitOutcome
from pipeline.engine.keys import content_key
from pipeline.engine.keys.lock_file import Locked
from pipeline.engine.record.result import StepResult, StepStatus
from pipeline.engine.units.graph import Unit, units
from pipeline.engine.units.step_entry import StepEntry
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.step import Origin, Stage


@dataclass
class UnitState:
    """One unit: what decides its result, once that is known, and its outcome, once it has one."""

    unit: Unit
    document: dict[str, Any] | None = None
    key: str = ""
    outcome: UnitOutcome | None = None
    running: bool = False
    failed: bool = False
    ran: bool = False
    waits_for: str = ""
    why: tuple[str, ...] = ()
    steps: dict[str, StepResult] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether it still has to be decided or started."""
        return self.outcome is None and not self.running and not self.failed

    def step_results(self) -> list[StepResult]:
        """Return how each of its steps ended."""
        not_run = StepStatus.NOT_RUN
        stage = str(self.unit.stage)
        return [self.steps.get(entry.name, StepResult(entry.name, stage, not_run, 0.0)) for entry in self.unit.entries]


@dataclass
class BuildState:
    """One recipe's build."""

    recipe: Recipe
    units: dict[str, UnitState]
    locked: Mapping[str, Locked] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    ended: float | None = None
    error: PipelineError | None = None
    evidence: Path | None = None

    @classmethod
    def start(cls, recipe: Recipe, steps: Sequence[StepEntry]) -> BuildState:
        """Return a build of which nothing is done; when no steps make it, one that has failed already."""
        try:
            return cls(recipe, {unit.name: UnitState(unit) for unit in units(recipe, steps)})
        except PipelineError as error:
            return cls(recipe, {}, error=error)

    @property
    def is_over(self) -> bool:
        """Whether nothing of it runs and nothing of it can start any more."""
        return all(not state.running and not self.can_start(state) for state in self.units.values())

    @property
    def reasons(self) -> list[str]:
        """Why units had to run, a line each."""
        return [f"{state.unit.name}: {'; '.join(state.why)}" for state in self.units.values() if state.why]

    @property
    def changed(self) -> bool:
        """Whether any step ran."""
        return any(state.ran for state in self.units.values())

    def can_start(self, state: UnitState) -> bool:
        """Return whether the unit is open and everything it needs is there."""
        return state.is_open and all(self.units[name].outcome is not None for name in state.unit.needs)

    def decide(self, state: UnitState) -> None:
        """Find out what decides the unit's result. Raises ``keys.InputMissing``."""
        if state.document is None:
            unit = state.unit
            state.document = content_key.document(
                str(unit.stage), self.foundation(unit), unit.entries, self.recipe, self.locked
            )
            state.key = content_key.key(state.document)

    def foundation(self, unit: Unit) -> dict[str, Any]:
        """Return what the unit stands on, by digest."""
        if unit.stage is Stage.RECORD:
            # What earlier records say may be part of a later one: an attestation tells of the boot test.
            records = [name for name in unit.needs if self.units[name].unit.stage is Stage.RECORD]
            stands_on = {"records": {name: self.units[name].key for name in records}} if records else {}
            return {**self._spoken_of(unit), **stands_on}
        disk = self.disk()
        return {"disk": disk} if disk and unit.stage is not Stage.INSTALL else {}

    def _spoken_of(self, unit: Unit) -> dict[str, Any]:
        """Return the products that a record is about, or a part of them, so that it holds for others with the same."""
        part = unit.about_a_part.part(self.recipe, self.facts()) if unit.about_a_part else None
        return {"part": part} if part else {"products": {name: blob.sha256 for name, blob in self.products().items()}}

    def disk(self) -> str | None:
        """Return the digest of the topmost frozen disk so far."""
        disks = [state.outcome.disk for state in self.units.values() if state.outcome and state.outcome.disk]
        return disks[-1].sha256 if disks else None

    def products(self) -> Mapping[str, Any]:
        """Return the frozen products, by format."""
        state = self.units.get(str(Stage.PRODUCT))
        return state.outcome.products if state and state.outcome else {}

    def facts(self) -> dict[str, Mapping[str, Any]]:
        """Return what every step has returned so far, by name."""
        found: dict[str, Mapping[str, Any]] = {}
        for state in self.units.values():
            if state.outcome:
                found.update(state.outcome.facts)
        return found

    def origins(self) -> list[Origin]:
        """Return what has been done so far, in order."""
        return [
            Origin(
                unit=outcome.unit,
                key=outcome.key,
                run=outcome.run,
                made=outcome.made,
                seconds=round(sum(outcome.seconds.values()), 3),
                accelerator=outcome.accelerator,
            )
            for state in self.units.values()
            if (outcome := state.outcome)
        ]

    def step_results(self) -> list[StepResult]:
        """Return how each step ended, in order."""
        return [result for state in self.units.values() for result in state.step_results()]
