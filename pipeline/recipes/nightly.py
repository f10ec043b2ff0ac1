"""What a nightly run builds and where it publishes: ``recipes/nightly.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from pipeline.base import yaml_source
from pipeline.base.errors import PipelineError
from pipeline.recipes.fields import Model, Name, Word
from pipeline.recipes.load import failure, shown
from pipeline.recipes.problems import problems_in
from pipeline.recipes.tree import Overlay, plain, tree


class Target(Model):
    """A cloud that gets the images."""

    cloud: Word
    """The cloud's name in ``clouds.yaml``."""
    stores: Annotated[tuple[Name, ...], Field(max_length=32)] = ()
    """The stores to put every image in; without any, those of the recipe, else the cloud's default."""


class Nightly(Model):
    """The recipes of a nightly run and the clouds they go to."""

    recipes: Annotated[tuple[Word, ...], Field(min_length=1, max_length=256)]
    """The recipes to build, by name, in order of importance."""
    targets: Annotated[tuple[Target, ...], Field(min_length=1, max_length=32)]
    """The clouds to publish to."""

    @classmethod
    def load(cls, file: Path) -> Nightly:
        """Read ``file``. Raises ``PipelineError`` that lists every mistake with its line."""
        name = shown(file)
        overlay = Overlay()
        root = overlay.lay(None, tree(yaml_source.load(file, name=name)))
        if overlay.problems:
            raise failure(name, overlay.problems)
        try:
            return cls.model_validate(plain(root))
        except ValidationError as error:
            raise failure(name, list(problems_in(error, cls, root))) from None


def names(file: Path) -> list[str]:
    """The recipes of the nightly run. Raises ``PipelineError`` when there is no such file."""
    if not file.is_file():
        raise PipelineError(f"there is no {shown(file)}", hint="name the recipes to work on")
    return list(Nightly.load(file).recipes)
