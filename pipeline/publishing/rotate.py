"""Rotate recipes on clouds: each behind its lock, and failures as results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.base.errors import PipelineError
from pipeline.base.progress import Progress, nothing
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.plan import name_conflicts
from pipeline.publishing.retention.rotation import Rotated, Rotation
from pipeline.publishing.sender import Sender
from pipeline.publishing.transaction import known_project
from pipeline.publishing.transaction.journal import PublishJournal, journal_file
from pipeline.recipes.model.recipe import Recipe


@dataclass(frozen=True)
class RecipeRotation:
    """What became of one recipe's previous images on one cloud. ``error`` is set when it could not be found out."""

    recipe: str
    cloud: str
    rotated: Sequence[Rotated] = ()
    error: PipelineError | None = None


def rotate(recipe: Recipe, cloud: str, sender: Sender, *, delete: bool, progress: Progress = nothing) -> RecipeRotation:
    """Decide what may go of ``recipe`` on ``cloud``; with ``delete``, delete it."""
    try:
        if not delete:
            api = sender.looking(cloud)
            marked = () if api.owners.are_known else name_conflicts.marked(api, sender.publisher, recipe.name)
            api = known_project.as_nobody(api, marked)
            exclusive = sender.scope(api, recipe.name).is_free()
            return RecipeRotation(
                recipe.name, cloud, _rotation(recipe, api, sender, exclusive=exclusive).run(delete=False)
            )
        api = sender.connect(cloud)
        with sender.locked(api, recipe.name, "rotating", progress) as locked:
            return RecipeRotation(
                recipe.name, cloud, _rotation(recipe, locked, sender, exclusive=True).run(delete=True)
            )
    except PipelineError as error:
        return RecipeRotation(recipe.name, cloud, error=error)


def _rotation(recipe: Recipe, api: ImageApi, sender: Sender, *, exclusive: bool) -> Rotation:
    return Rotation(
        api=api,
        publisher=sender.publisher,
        recipe=recipe.name,
        limits=recipe.publish.retention,
        context=sender.runner_context(exclusive=exclusive),
        journal=PublishJournal(journal_file(sender.home, api.cloud, recipe.name), sender.run),
    )


def rotate_all(
    recipes: Sequence[Recipe], clouds: Sequence[str], sender: Sender, *, delete: bool, progress: Progress = nothing
) -> list[RecipeRotation]:
    """Rotate every recipe on every cloud."""
    return [rotate(recipe, cloud, sender, delete=delete, progress=progress) for recipe in recipes for cloud in clouds]
