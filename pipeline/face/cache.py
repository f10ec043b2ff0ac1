"""``./inv cache.*``: what the cache holds, whether it is whole, what may go, and taking it elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import Progress as Bars

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.engine import garbage, plan, registry, transfer
from pipeline.engine import verify as checking
from pipeline.engine.lock_file import LockFile
from pipeline.engine.resources import amount, free_disk
from pipeline.engine.store import Store
from pipeline.face import building
from pipeline.face.task import Exit
from pipeline.recipes import nightly


def show(*, as_json: bool = False) -> None:
    """How much there is of what."""
    store = Store.open(Home.default().cache)
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
    store = Store.open(Home.default().cache)
    done = garbage.collect(store, 0 if everything else garbage.cap(size), also_kept=kept or everything)
    for name in done.outcomes:
        print(f"forgot {name}")
    print(f"freed {amount(done.bytes)}")


def verify(*, repair: bool = False) -> None:
    """Read everything again; end with status 1 when something is damaged."""
    store = Store.open(Home.default().cache)
    with Bars(console=Console(stderr=True), transient=True) as bars:
        damages = checking.verify(store, progress=_Bar(bars, "reading the cache"))
    for damage in damages:
        print(damage)
    if not damages:
        print("the cache is whole")
    elif repair:
        checking.discard(store, damages)
        print(f"removed {len(damages)} damaged things; the next build makes them again")
    else:
        raise SystemExit(Exit.FAILED)


def export(names: Sequence[str], target: str) -> None:
    """Write what builds of the recipes would take from the cache to a tar file."""
    store = Store.open(Home.default().cache)
    recipes = building.load(names or nightly.names(building.RECIPES / "nightly.yaml"))
    keys = [
        key
        for recipe in recipes
        for key in plan.cached_keys(recipe, registry.STEPS, store, LockFile(building.RECIPES, recipe.name))
    ]
    count = transfer.export(store, keys, Path(target))
    print(f"{target}: {count} results, {amount(Path(target).stat().st_size)}")


def bring(source: str) -> None:
    """Take over an exported cache."""
    store = Store.open(Home.default().cache)
    if not Path(source).is_file():
        raise PipelineError(f"there is no file {source}")
    with Bars(console=Console(stderr=True), transient=True) as bars, store.lease():
        count = transfer.bring(store, Path(source), progress=_Bar(bars, "reading"))
    print(f"{count} {'result is' if count == 1 else 'results are'} now in {store.root}")


class _Bar:
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
