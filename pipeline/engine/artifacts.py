"""Link the newest products of each recipe where people look for them: ``artifacts/<recipe>/``.

The files are links into the cache, under names that say what they are; ``manifest.json`` says what is known of them.
"""

from __future__ import annotations

import contextlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path

from pipeline.base import atomic
from pipeline.base.home import Home
from pipeline.engine.record.result import BuildResult
from pipeline.engine.run.collect import summary


def link_products(home: Home, result: BuildResult) -> Path:
    """Put a good build's products into its folder, each in one act, and the manifest last; return the folder."""
    folder = home.artifacts / result.recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    named = {f"{result.recipe.name}.{product.format}": product for product in result.products}
    for name, product in named.items():
        _link(product.path, folder / name)
    # What says of a product what it is stands next to it: tiny.qcow2.intoto.jsonl.
    documents = {f"{result.recipe.name}.{name}": path for name, path in result.documents.items()}
    for name, path in documents.items():
        _link(path, folder / name)
    manifest = {
        **summary(result),
        "name": result.recipe.image_name,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "properties": dict(result.properties),
        "products": {
            name: {
                "format": product.format,
                "size": product.size,
                "digests": dict(product.digests),
                "signature": dict(product.signature),
            }
            for name, product in named.items()
        },
    }
    atomic.write_text(folder / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    for stale in folder.iterdir():
        if stale.name not in {*named, *documents, "manifest.json"}:
            with contextlib.suppress(OSError):
                stale.unlink()
    return folder


def is_current(home: Home, result: BuildResult) -> bool:
    """Return whether the folder offers exactly these products already."""
    folder = home.artifacts / result.recipe.name
    with contextlib.suppress(OSError):
        return (folder / "manifest.json").is_file() and all(
            (folder / f"{result.recipe.name}.{product.format}").samefile(product.path) for product in result.products
        )
    return False


def _link(source: Path, target: Path) -> None:
    temporary = atomic.temporary_name(target)
    try:
        os.link(source, temporary)
    except OSError:
        # Another file system, or one without hard links.
        temporary.symlink_to(source)
    temporary.replace(target)
