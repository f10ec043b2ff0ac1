"""Say what a person has to bring along for a build, because it cannot be fetched."""

from __future__ import annotations

from pipeline.base.errors import PipelineError


def missing(recipe: str, supplied: str | None) -> PipelineError:
    """Return the error for a recipe that was given none."""
    return PipelineError(
        f"recipe {recipe} needs a file that cannot be fetched: {supplied or 'its media'}",
        hint=f"./inv build {recipe} --source FILE, or ./inv publish {recipe} --source FILE",
    )
