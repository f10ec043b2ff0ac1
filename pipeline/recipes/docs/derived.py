"""Derive files from the recipe models and the vocabulary of image properties: schemas for editors, references in the
documentation, the catalogue of metadata definitions.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.base import atomic
from pipeline.base.home import CHECKOUT
from pipeline.image.metadefs import catalogue
from pipeline.image.metadefs import page as properties_page
from pipeline.recipes.docs import reference, schema


def files(checkout: Path) -> dict[Path, str]:
    """Return each derived file of the checkout and what it should say."""
    page, properties = checkout / "docs" / "recipes.md", checkout / "docs" / "metadefs.md"
    definitions = checkout / catalogue.FOLDER.relative_to(CHECKOUT)
    return {
        checkout / "recipes" / "schema.json": schema.recipe_schema(),
        checkout / "recipes" / "nightly.schema.json": schema.nightly_schema(),
        page: reference.refreshed(page.read_text()),
        properties: properties_page.refreshed(properties.read_text()),
        **{definitions / name: text for name, text in catalogue.files().items()},
    }


def refresh(checkout: Path) -> list[Path]:
    """Bring the derived files up to date; return those that changed."""
    generated = files(checkout)
    changed = [path for path, text in generated.items() if not path.exists() or path.read_text() != text]
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_text(path, generated[path])
    return changed
