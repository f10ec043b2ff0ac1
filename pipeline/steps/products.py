"""The product stage: from the finished disk and its layers to the files that will be published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.host import answers
from pipeline.image import convert
from pipeline.recipes.model import Recipe
from pipeline.steps.step import Context, Stage


class Products:
    """Flattens the layers and writes every format the recipe asks for, without what the disk does not use.

    Its facts: ``files`` (format → ``size`` and ``virtual_size`` in bytes).
    """

    name = "products"
    stage = Stage.PRODUCT

    def wanted(self, recipe: Recipe) -> bool:
        """Always."""
        return True

    def inputs(self, recipe: Recipe) -> Mapping[str, Any]:
        """The formats, and the version of the program that writes them."""
        version = answers.version("qemu-img")
        return {"products": [product.model_dump(mode="json") for product in recipe.products], "qemu-img": version}

    def sources(self) -> Sequence[Path]:
        """What converts."""
        return [Path(str(convert.__file__))]

    def run(self, context: Context) -> Mapping[str, Any]:
        """Write one product after the other."""
        files = {}
        for product in context.recipe.products:
            context.progress.say(f"writing {product.format}")
            target = context.products[product.format]
            options = convert.Options(
                format=str(product.format), compression=convert.Compression(product.compression), ordered=True
            )
            verdict = convert.convert(
                context.disk, "qcow2", target, options, own_layers=context.layers, progress=context.progress
            )
            files[str(product.format)] = {"size": target.stat().st_size, "virtual_size": verdict.virtual_size}
        return {"files": files}
