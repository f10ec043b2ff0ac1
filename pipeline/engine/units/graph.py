"""Turn recipes into a graph of units of work: what is frozen together runs together.

Each of the stages that freeze something is one unit, whose steps run one after the other; every record step is a
unit of its own, so that records can be made side by side.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.base.errors import PipelineError
from pipeline.engine.units.resources import Needs
from pipeline.engine.units.step_entry import StepEntry
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.step import SpeaksOfPart, Stage


@dataclass(frozen=True)
class Unit:
    """Steps that run together in one process and leave one outcome. ``needs`` names units of the same recipe."""

    recipe: Recipe = field(repr=False)
    stage: Stage
    name: str
    entries: tuple[StepEntry, ...] = field(repr=False)
    needs: tuple[str, ...]

    @property
    def id(self) -> str:
        """Recipe and name: "tiny/install"."""
        return f"{self.recipe.name}/{self.name}"

    @property
    def about_a_part(self) -> SpeaksOfPart | None:
        """Its step, if that is a record which speaks of a part of the products only."""
        step = self.entries[-1].step
        return step if isinstance(step, SpeaksOfPart) else None

    @property
    def resources(self) -> Needs:
        """What the most demanding of its steps needs."""
        needs = Needs(0, 0, 0)
        for entry in self.entries:
            needs |= entry.needs(self.recipe)
        return needs


def units(recipe: Recipe, registry: Sequence[StepEntry]) -> list[Unit]:
    """Return the units of one recipe's build, each behind those it needs. Raises ``PipelineError`` if no steps make
    it.
    """
    applicable = [entry for entry in registry if entry.step.applies_to(recipe)]
    found: list[Unit] = []
    for stage in (Stage.INSTALL, Stage.OFFLINE, Stage.PRODUCT):
        entries = tuple(entry for entry in applicable if entry.stage is stage)
        if entries:
            found.append(Unit(recipe, stage, str(stage), entries, tuple(unit.name for unit in found[-1:])))
        elif stage is not Stage.OFFLINE:
            raise PipelineError(
                f"recipe {recipe.name}: no step does its {stage} stage (method {recipe.install.method})"
            )
    records = [entry for entry in applicable if entry.stage is Stage.RECORD]
    names = {entry.name for entry in records}
    for entry in records:
        before = tuple(name for name in entry.after if name in names)
        found.append(Unit(recipe, Stage.RECORD, entry.name, (entry,), (str(Stage.PRODUCT), *before)))
    return found


def edges(parts: Sequence[Unit]) -> list[tuple[str, str]]:
    """Return which step follows which: within a unit in order, between units from the last to the first."""
    last = {unit.name: unit.entries[-1].name for unit in parts}
    found = []
    for unit in parts:
        found += [(last[name], unit.entries[0].name) for name in unit.needs]
        names = [entry.name for entry in unit.entries]
        found += itertools.pairwise(names)
    return found
