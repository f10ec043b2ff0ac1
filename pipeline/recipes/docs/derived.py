"""Derive files from the recipe models: schemas for editors, reference in the documentation."""

from __future__ import annotations

from pathlib import Path

from pipeline.base import atomic
from pipeline.recipes.docs import reference, schema


def files(checkout: Path) -> dict[Path, str]:
    """Return each derived file of the checkout and what it should say."""
    page = checkout / "docs" / "recipes.md"
    return {
        checkout / "recipes" / "schema.json": schema.recipe_schema(),
        checkout / "recipes" / "nightly.schema.json": schema.nightly_schema(),
        page: reference.refreshed(page.read_text()),
    }


def refresh(checkout: Path) -> list[Path]:
    """Bring the derived files up to date; return those that changed."""
    changed = [path for path, text in files(checkout).items() if not path.exists() or path.read_text() != text]
    for path in changed:
        atomic.write_text(path, files(checkout)[path])
    return changed
