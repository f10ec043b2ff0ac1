"""Record that the image is what the recipe claims it to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.image import claims
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.step import Context, Stage


class ClaimsStep:
    """Compares the recipe's properties with what the offline stage found in the image.

    It is a step of its own, so that a changed property neither customises nor boots anything again.
    """

    name = "claims"
    stage = Stage.RECORD

    def applies_to(self, recipe: Recipe) -> bool:
        """Return ``True``, always."""
        return True

    def inputs(self, recipe: Recipe) -> Mapping[str, Any]:
        """Return all that is claimed."""
        return {"properties": dict(recipe.image_properties)}

    def run(self, context: Context) -> Mapping[str, Any]:
        """Raise ``PipelineError`` with every claim that the image contradicts."""
        recipe = context.recipe
        found = claims.InspectedGuest.from_facts(context.facts["offline"]["inspection"])
        problems = claims.compare(recipe.image_properties, found)
        if problems:
            raise PipelineError(
                f"recipe {recipe.name} claims what its image is not",
                details=[str(problem) for problem in problems],
                hint="correct 'os' or 'properties' in the recipe",
            )
        return {"proven": claims.derive(found)}
