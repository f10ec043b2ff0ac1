"""Make units of a recipe's steps."""

from __future__ import annotations

from pipeline.base.home import CHECKOUT
from pipeline.engine import registry
from pipeline.engine.units.graph import units
from pipeline.recipes.loading.load import RecipeFolder


def test_each_boot_is_a_guest_of_its_own() -> None:
    (tiny,) = RecipeFolder(CHECKOUT / "recipes").load("tiny")
    boots = [each for each in units(tiny, registry.STEPS) if each.name in ("boot_test", "firmware_test")]
    assert [each.resources.guests for each in boots] == [1, 1]
    # Side by side: neither waits for the other.
    assert [each.needs for each in boots] == [("product",), ("product",)]
