"""Measure what the cache holds, and collect what of it may go.

Outcomes refer to files, overlays to the disks below them. What nothing refers to goes at once; beyond the cap the
outcomes that were not used for longest go first, those on top before those they stand on. Whatever a running build
has used since it began stays.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.base import json_text, locks
from pipeline.base.errors import PipelineError
from pipeline.base.owner import Owner
from pipeline.engine.cache.store import CacheStore, UnitOutcome
from pipeline.engine.cache.workdir import kept
from pipeline.recipes.model.fields import parse_size

_DEPTH = {"install": 0, "offline": 1, "product": 2}


DEFAULT_CAP = "50GiB"


def cap(size: str = "") -> int:
    """Return how large the cache may grow, in bytes: as said, else ``PIPELINE_CACHE_SIZE``, else 50 GiB.

    Raises ``PipelineError`` for what is no size.
    """
    text = size or os.environ.get("PIPELINE_CACHE_SIZE") or DEFAULT_CAP
    try:
        return parse_size(text)
    except ValueError as error:
        raise PipelineError(f"cache size {text!r}: {error}") from None


@dataclass(frozen=True)
class CacheUsage:
    """How much of what there is. Sizes are what the files take on the disk, in bytes."""

    layers: int
    products: int
    documents: int
    kept: int
    under_way: int
    outcomes: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.layers + self.products + self.documents + self.kept + self.under_way


@dataclass
class Collected:
    """What was removed: outcomes by recipe and unit, files and folders, and what they took."""

    outcomes: list[str] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    bytes: int = 0


@dataclass(frozen=True)
class _Entry:
    outcome: UnitOutcome
    file: Path
    used: float


def usage(store: CacheStore) -> CacheUsage:
    """Return what the store holds now."""
    frozen = [path for path in store.layers.iterdir() if not path.name.startswith((".", "kept."))]
    partial = [*store.layers.glob(".partial.*"), *store.work.iterdir()]
    return CacheUsage(
        layers=sum(map(_taken, frozen)),
        products=_taken(store.products),
        documents=_taken(store.documents),
        kept=sum(map(_taken, kept(store))),
        under_way=sum(map(_taken, partial)),
        outcomes=len(list(store.outcomes.glob("*.json"))),
    )


def collect(store: CacheStore, cap: int | None = None, *, also_kept: bool = False) -> Collected:
    """Remove what nothing refers to, then what goes beyond ``cap`` bytes (``None``: no limit).

    ``also_kept`` removes the disks that were set aside, too.
    """
    done = Collected()
    done.paths += store.sweep()
    with store.mutex():
        horizon = _horizon(store)
        entries = list(_entries(store))
        if also_kept:
            for folder in kept(store):
                _remove(folder, done)
        stay = _within(store, entries, cap, horizon)
        for entry in entries:
            if entry not in stay:
                done.outcomes.append(f"{entry.outcome.recipe}/{entry.outcome.unit}")
                entry.file.unlink(missing_ok=True)
        referenced = set(files(store, (entry.outcome for entry in stay)))
        referenced |= {path for folder in kept(store) for path in _below(store, folder)}
        for path in _objects(store):
            if path not in referenced and path.stat().st_ctime < horizon:
                _remove(path, done)
        _drop_locks(store)
    return done


def _within(store: CacheStore, entries: list[_Entry], cap: int | None, horizon: float) -> list[_Entry]:
    """Return the entries that may stay: newest use first, as many as fit, and all that running builds use."""
    if cap is None:
        return entries
    stay = sorted(entries, key=lambda entry: _rank(entry, entries))
    sizes = {path: _taken(path) for path in files(store, (entry.outcome for entry in entries))}
    while stay and stay[0].used < horizon:
        if sum(sizes[path] for path in files(store, (entry.outcome for entry in stay))) <= cap:
            break
        stay.pop(0)
    return stay


def _rank(entry: _Entry, entries: list[_Entry]) -> tuple[float, int]:
    """Count what stands on an outcome as a use of it."""
    mine = {blob.sha256 for blob in (entry.outcome.disk, *entry.outcome.products.values()) if blob}
    on_top = [other.used for other in entries if mine & set(_foundation(other.outcome))]
    return max([entry.used, *on_top]), -_DEPTH.get(entry.outcome.unit, 3)


def _foundation(outcome: UnitOutcome) -> Iterator[str]:
    base = outcome.document.get("base", {})
    if "disk" in base:
        yield base["disk"]
    yield from base.get("products", {}).values()


def _entries(store: CacheStore) -> Iterator[_Entry]:
    for file in store.outcomes.glob("*.json"):
        outcome = store.peek(file.stem)
        if outcome is not None:
            yield _Entry(outcome, file, file.stat().st_mtime)


def files(store: CacheStore, outcomes: Iterable[UnitOutcome]) -> set[Path]:
    """Return the objects that outcomes need, with all disks below their disks."""
    found: set[Path] = set()
    for outcome in outcomes:
        found |= {store.products / blob.sha256 for blob in outcome.products.values()}
        found |= {store.documents / blob.sha256 for blob in outcome.documents.values()}
        if outcome.disk:
            found |= set(_below(store, store.layers / outcome.disk.sha256))
    return found


def _below(store: CacheStore, folder: Path) -> Iterator[Path]:
    """Yield the folder of a disk and those of all disks that it stands on."""
    while True:
        yield folder
        try:
            note = folder / ("kept.json" if folder.name.startswith("kept.") else "layer.json")
            base = json_text.loads(note.read_text())["base"]
        except (OSError, ValueError, KeyError, TypeError):
            return
        if not base:
            return
        folder = store.layers / str(base)


def _objects(store: CacheStore) -> Iterator[Path]:
    for parent in (store.layers, store.products, store.documents):
        for path in parent.iterdir():
            if not path.name.startswith((".", "kept.")):
                yield path


def _horizon(store: CacheStore) -> float:
    """When the oldest build that still runs began; without any, the end of time."""
    begun = [float("inf")]
    for lease in store.leases.iterdir():
        owner = Owner.find(lease.name)
        if owner is not None and owner.is_alive():
            begun.append(lease.stat().st_mtime)
    return min(begun)


def _drop_locks(store: CacheStore) -> None:
    """Lock files whose outcome is gone and that nobody holds."""
    for file in (store.root / "locks").iterdir():
        if file.name != "mutex" and not (store.outcomes / f"{file.name}.json").exists():
            lock = locks.attempt(file, "tidying up")
            if lock is not None:
                file.unlink(missing_ok=True)
                lock.release()


def _remove(path: Path, done: Collected) -> None:
    done.bytes += _taken(path)
    done.paths.append(path)
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _taken(path: Path) -> int:
    """Return what a file or folder takes on the disk."""
    total = 0
    for file in [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]:
        try:
            total += file.stat().st_blocks * 512
        except FileNotFoundError:
            continue  # moved into place meanwhile
    return total
