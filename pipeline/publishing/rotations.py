"""Rotation of recipes on clouds: each behind its lock, and failures as results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.base.errors import PipelineError
from pipeline.publishing import lock
from pipeline.publishing.delivery import Sender
from pipeline.publishing.journal import Journal, journal_file, lock_file
from pipeline.publishing.rotation import Rotated, Rotation
from pipeline.recipes.model import Recipe


@dataclass(frozen=True)
class RecipeRotation:
    """What became of one recipe's previous images on one cloud. ``error`` is set when it could not be found out."""

    recipe: str
    cloud: str
    rotated: Sequence[Rotated] = ()
    error: PipelineError | None = None


def rotate(recipe: Recipe, cloud: str, sender: Sender, *, delete: bool) -> RecipeRotation:
    """Decide what may go of ``recipe`` on ``cloud``; with ``delete``, delete it."""
    try:
        api = sender.connect(cloud)
        with lock.held(lock_file(sender.home, cloud, recipe.name), f"rotating {recipe.name} on cloud {cloud}"):
            rotation = Rotation(
                api=api,
                publisher=sender.publisher,
                recipe=recipe.name,
                limits=recipe.publish.retention,
                view=sender.viewpoint(),
                journal=Journal(journal_file(sender.home, cloud, recipe.name), sender.run),
            )
            return RecipeRotation(recipe.name, cloud, rotation.run(delete=delete))
    except PipelineError as error:
        return RecipeRotation(recipe.name, cloud, error=error)


def rotate_all(
    recipes: Sequence[Recipe], clouds: Sequence[str], sender: Sender, *, delete: bool
) -> list[RecipeRotation]:
    """Rotate every recipe on every cloud."""
    return [rotate(recipe, cloud, sender, delete=delete) for recipe in recipes for cloud in clouds]
