"""Carry out ``./inv cache.*``: show what the cache holds, verify it, collect garbage, export and import it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.progress import Progress as Bars

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.base.plain_text import one_line
from pipeline.base.terminal import SafeConsole
from pipeline.cli.handlers import build as build_handler
from pipeline.cli.task import Exit
from pipeline.engine import registry
from pipeline.engine.cache import archive as cache_archive
from pipeline.engine.cache import garbage
from pipeline.engine.cache import verify as checking
from pipeline.engine.cache.store import CacheStore
from pipeline.engine.keys.lock_file import LockFile
from pipeline.engine.plan import plan
from pipeline.engine.units.resources import amount, free_disk
from pipeline.recipes import nightly


def show(*, as_json: bool = False) -> None:
    """Print how much there is of what."""
    store = CacheStore.open(Home.default().cache)
    usage = garbage.usage(store)
    if as_json:
        print(json.dumps({**asdict(usage), "total": usage.total, "folder": str(store.root)}, indent=2))
        return
    print(f"{store.root}: {amount(usage.total)}, {amount(free_disk(store.root))} free beside it")
    for what, size in (
        ("disks after each stage", usage.layers),
        ("finished products", usage.products),
        ("documents of records", usage.documents),
        ("disks of failed steps that were kept", usage.kept),
        ("being made", usage.under_way),
    ):
        print(f"  {amount(size):>10}  {what}")
    print(f"  {usage.outcomes:>10}  results known by their inputs")


def collect(size: str = "", *, kept: bool = False, everything: bool = False) -> None:
    """Remove what nothing needs, then what goes beyond ``size``; with ``everything``, all that no build uses now."""
    store = CacheStore.open(Home.default().cache)
    done = garbage.collect(store, 0 if everything else garbage.cap(size), also_kept=kept or everything)
    for name in done.outcomes:
        print(one_line(f"forgot {name}"))
    print(f"freed {amount(done.bytes)}")


def verify(*, repair: bool = False) -> None:
    """Read everything again; end with status 1 when something is damaged."""
    store = CacheStore.open(Home.default().cache)
    with Bars(console=SafeConsole(stderr=True), transient=True) as bars:
        damages = checking.verify(store, progress=_CacheBar(bars, "reading the cache"))
    for damage in damages:
        print(one_line(str(damage)))
    if not damages:
        print("the cache is whole")
    elif repair:
        checking.discard(store, damages)
        print(f"removed {len(damages)} damaged things; the next build makes them again")
    else:
        raise SystemExit(Exit.FAILED)


def export_archive(names: Sequence[str], target: str) -> None:
    """Write what builds of the recipes would take from the cache to a tar file."""
    store = CacheStore.open(Home.default().cache)
    recipes = build_handler.load(names or nightly.names(build_handler.RECIPES / "nightly.yaml"))
    keys = [
        key
        for recipe in recipes
        for key in plan.cached_keys(recipe, registry.STEPS, store, LockFile(build_handler.RECIPES, recipe.name))
    ]
    count = cache_archive.export_archive(store, keys, Path(target))
    print(f"{target}: {count} results, {amount(Path(target).stat().st_size)}")


def import_archive(source: str) -> None:
    """Take over an exported cache."""
    store = CacheStore.open(Home.default().cache)
    if not Path(source).is_file():
        raise PipelineError(
            f"there is no file {source}", hint="./inv cache.export writes one, on the machine that built"
        )
    with Bars(console=SafeConsole(stderr=True), transient=True) as bars, store.lease():
        count = cache_archive.import_archive(store, Path(source), progress=_CacheBar(bars, "reading"))
    print(f"{count} {'result is' if count == 1 else 'results are'} now in {store.root}")


class _CacheBar:
    """A ``Progress`` as a bar."""

    def __init__(self, bars: Bars, what: str) -> None:
        self._bars = bars
        self._bar = bars.add_task(what)

    def advance(self, done: int, total: int | None, unit: str = "B") -> None:
        """Move the bar."""
        self._bars.update(self._bar, completed=done, total=total)

    def say(self, text: str) -> None:
        """Name it."""
        self._bars.update(self._bar, description=text)
