"""Override a recipe for one build: the file it starts from (``--source``), what runs its installer (``--engine``)."""

from __future__ import annotations

from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.recipes.model.kickstart import InstallEngine, KickstartInstall
from pipeline.recipes.model.recipe import Recipe
from pipeline.recipes.model.source_file import SourceFile


def with_engine(recipe: Recipe, name: str) -> Recipe:
    """Return ``recipe`` with its installer run by the engine ``name``. Raises ``PipelineError`` where that makes no
    sense.
    """
    if not isinstance(recipe.install, KickstartInstall):
        raise PipelineError(f"--engine {name}: recipe {recipe.name} runs no installer")
    if name not in list(InstallEngine):
        raise PipelineError(f"--engine {name}: there is no such engine", hint=f"engines: {', '.join(InstallEngine)}")
    install = recipe.install.model_copy(update={"engine": InstallEngine(name)})
    return recipe.model_copy(update={"install": install})


def with_source(recipe: Recipe, file: Path) -> Recipe:
    """Return ``recipe`` with its installation taken from ``file``. Raises ``PipelineError`` where
    that makes no sense.
    """
    if "file" not in type(recipe.install).model_fields:
        raise PipelineError(
            f"recipe {recipe.name} takes no file: it is installed by the method {recipe.install.method}",
            hint="--source is for recipes that start from an image or from installation media",
        )
    if not file.is_file():
        raise PipelineError(f"--source {file}: {'this is a folder' if file.is_dir() else 'there is no such file'}")
    install = recipe.install.model_copy(update={"file": SourceFile(str(file), file.resolve())})
    return recipe.model_copy(update={"install": install})
