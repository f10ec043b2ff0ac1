"""Kickstarts of the recipes that are shipped, and a small recipe for tests of what is done with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.base.home import CHECKOUT
from pipeline.recipes.model.recipe import Recipe
from pipeline.recipes.model.source_file import SourceFile

KICKSTARTS = CHECKOUT / "kickstarts"
RECIPE: dict[str, Any] = {
    "name": "rhel",
    "os": {"type": "linux", "distro": "rhel", "version": "7.9", "admin_user": "cloud-user"},
    "disk": {"size": "2GiB"},
    "install": {"method": "kickstart", "supplied": "a DVD"},
    "products": [{"format": "qcow2"}],
}


def recipe(kickstart: str | Path = "rhel7.ks", **parts: Any) -> Recipe:
    """A recipe with the kickstart of that name, or in that file. ``install`` adds to what is said of it."""
    path = KICKSTARTS / kickstart
    install = {**RECIPE["install"], "kickstart": SourceFile(str(kickstart), path), **parts.pop("install", {})}
    return Recipe.model_validate({**RECIPE, **parts, "install": install})
