"""Describe a step and what the engine has to know to run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.engine.units.resources import Needs
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.step import Stage, Step

MINUTE = 60.0
HOUR = 60 * MINUTE


def _few(recipe: Recipe) -> Needs:
    return Needs()


@dataclass(frozen=True)
class StepEntry:
    """A step and how it is run.

    ``deadline``: seconds after which the step is ended, on an emulated processor. ``needs``: what has to be free on
    this machine before it starts.
    ``after``: the record steps that must have succeeded before this one. ``tools``: programs whose version changes
    the result, in addition to those that the step's own inputs name. ``gives_way``: what takes longer and cannot use
    more than one processor (a boot) runs at the same time, so that it is content with what that leaves.
    """

    step: Step
    deadline: float = 30 * MINUTE
    needs: Callable[[Recipe], Needs] = _few
    after: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    gives_way: bool = False

    @property
    def name(self) -> str:
        """The step's name."""
        return self.step.name

    @property
    def stage(self) -> Stage:
        """When it runs."""
        return self.step.stage
