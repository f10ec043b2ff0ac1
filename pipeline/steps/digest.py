"""Record the digests of the products, computed while the tests run, so that signing need not read a byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.image import digests
from pipeline.recipes.model.recipe import Recipe
from pipeline.signing.trust.kinds import HashMethod
from pipeline.steps.step import Context, Stage


class DigestStep:
    """Reads each product once.

    Its facts: ``{"products": {FORMAT: {"size": …, "digests": {algorithm → hex}}}}``, which the engine holds against the
    bytes that it froze.
    """

    name = "digest"
    stage = Stage.RECORD

    def applies_to(self, recipe: Recipe) -> bool:
        """Return ``True``: publishing needs them, too."""
        return True

    def inputs(self, recipe: Recipe) -> Mapping[str, Any]:
        """Return the algorithms."""
        return {"algorithms": _algorithms(recipe)}

    def run(self, context: Context) -> Mapping[str, Any]:
        """Read one product after the other."""
        found = {}
        for name, path in context.products.items():
            context.progress.say(f"reading {name}")
            made = digests.digest_file(path, _algorithms(context.recipe), progress=context.progress)
            found[name] = {"size": made.size, "digests": dict(made.values)}
        return {"products": found}


def _algorithms(recipe: Recipe) -> list[str]:
    signed = [HashMethod(recipe.signing.hash).algorithm] if recipe.signing.enabled else []
    return sorted({*digests.USUAL, *signed})
