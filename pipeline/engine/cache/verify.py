"""Verify the cache: read every byte again and compare it with what it is named for."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.base import json_text
from pipeline.base.errors import PipelineError
from pipeline.base.progress import Progress, nothing
from pipeline.engine.cache import overlay
from pipeline.engine.cache.store import DISK, CacheStore, UnitOutcome, digest


@dataclass(frozen=True)
class Damage:
    """A file or folder of the store that is not what it should be."""

    path: Path
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def verify(store: CacheStore, *, progress: Progress = nothing) -> list[Damage]:
    """Return everything that is wrong with the store. Half-made files of running builds are not looked at."""
    checks: list[tuple[Callable[[CacheStore, Path], Iterator[Damage]], Path]] = [
        *((_layer, folder) for folder in sorted(store.layers.iterdir()) if not folder.name.startswith((".", "kept."))),
        *((_product, folder) for folder in sorted(store.products.iterdir()) if not folder.name.startswith(".")),
        *((_document, file) for file in sorted(store.documents.iterdir()) if not file.name.startswith(".")),
        *((_outcome, file) for file in sorted(store.outcomes.glob("*.json")) if not file.name.startswith(".")),
    ]
    found: list[Damage] = []
    for number, (check, path) in enumerate(checks, 1):
        progress.advance(number, len(checks), "things")
        found += check(store, path)
    return found


def discard(store: CacheStore, damages: list[Damage]) -> None:
    """Remove what is damaged, so that the next build makes it again."""
    with store.mutex():
        for path in {damage.path for damage in damages}:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _layer(store: CacheStore, folder: Path) -> Iterator[Damage]:
    disk = folder / DISK
    if not disk.is_file():
        yield Damage(folder, "has no disk")
        return
    if digest(disk).sha256 != folder.name:
        yield Damage(folder, "the disk's bytes have changed")
        return
    base = _base(folder)
    if base and not store.disk(base).is_file():
        yield Damage(folder, f"the disk below it ({base[:12]}…) is missing")
    try:
        if overlay.require_base(disk, base) != base:
            yield Damage(folder, "stands alone, against its note")
    except PipelineError as error:
        yield Damage(folder, error.message)


def _base(folder: Path) -> str | None:
    try:
        found = json_text.loads((folder / "layer.json").read_text())["base"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(found) if found else None


def _product(store: CacheStore, folder: Path) -> Iterator[Damage]:
    files = list(folder.glob("image.*"))
    if len(files) != 1:
        yield Damage(folder, f"has {len(files)} files instead of one")
    elif digest(files[0]).sha256 != folder.name:
        yield Damage(folder, "the file's bytes have changed")


def _document(store: CacheStore, file: Path) -> Iterator[Damage]:
    if digest(file).sha256 != file.name:
        yield Damage(file, "its bytes have changed")


def _outcome(store: CacheStore, file: Path) -> Iterator[Damage]:
    try:
        outcome = UnitOutcome.from_json(file.read_text())
    except (ValueError, TypeError, KeyError):
        yield Damage(file, "cannot be read")
        return
    if outcome.key != file.stem:
        yield Damage(file, "belongs to another key")
    for path in store.files(outcome):
        if not path.is_file():
            yield Damage(file, f"names {path.parent.name[:12]}…, which is missing")
