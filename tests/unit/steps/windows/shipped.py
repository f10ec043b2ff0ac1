"""Load the Windows recipes that are shipped."""

from __future__ import annotations

from pipeline.base.home import CHECKOUT
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.recipe import Recipe
from pipeline.recipes.model.windows import WindowsInstall

NAMES = ["windows-2012-r2", "windows-2016", "windows-2019", "windows-2022"]


def load(name: str) -> tuple[Recipe, WindowsInstall]:
    (recipe,) = RecipeFolder(CHECKOUT / "recipes").load(name)
    assert isinstance(recipe.install, WindowsInstall)
    return recipe, recipe.install
