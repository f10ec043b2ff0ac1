"""Carry out ``./inv service.stores`` and ``./inv service.migrate``: show what stores hold, and move it."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict

from rich import box
from rich.progress import Progress as Bars
from rich.text import Text

from pipeline.base.errors import PipelineError
from pipeline.base.plain_text import one_line
from pipeline.base.terminal import SafeConsole, SafeTable
from pipeline.cli.handlers import service_settings
from pipeline.cli.task import Exit
from pipeline.engine.units.resources import amount
from pipeline.imageservice.importing.maintenance import migrate as store_migration
from pipeline.imageservice.importing.maintenance import usage as store_usage


def show(file: str = "", *, as_json: bool = False) -> None:
    """List the stores; ends with status 1 when one of them cannot be used."""
    found = list(store_usage.store_usage(service_settings.service(file)))
    if as_json:
        print(json.dumps([asdict(one) for one in found], indent=2))
    else:
        _print(found)
    sys.stdout.flush()
    if any(one.fault for one in found):
        _end(Exit.FAILED)


def _print(found: list[store_usage.StoreUsage]) -> None:
    table = SafeTable(box=box.SIMPLE)
    for title in ("store", "kind", "state", "images", "bytes", "free"):
        table.add_column(title, justify="right" if title in ("images", "bytes", "free") else "left")
    for one in found:
        state = "unhealthy" if one.fault else "healthy" if one.writable else "healthy, read-only"
        name = f"{one.store} (default)" if one.default else one.store
        free = "" if one.free is None else amount(one.free)
        table.add_row(Text(name), one.type, Text(state), str(one.images), amount(one.bytes), free)
    SafeConsole().print(table)
    for fault in (one.fault for one in found if one.fault):
        print(one_line(f"attention: {fault}"))


def migrate(file: str, source: str, target: str, *, keep: bool = False, as_json: bool = False) -> None:
    """Move all images from one store to another; ends with status 1 when one had to stay."""
    if not source or not target:
        raise PipelineError("no stores were named", hint="./inv service.migrate --from OLD --to NEW")
    service = service_settings.service(file)
    count = stay = 0
    with Bars(console=SafeConsole(stderr=True), transient=True) as bars:
        watch = _MigrationBar(bars, f"{source} → {target}")
        for one in store_migration.migrate(service, source, target, keep=keep, progress=watch):
            count += 1
            stay += one.outcome is store_migration.MigrationOutcome.STAYS
            if as_json:
                print(json.dumps(asdict(one)), flush=True)
            else:
                size = "" if one.size is None else amount(one.size)
                print(
                    one_line("  ".join(part for part in (one.outcome, one.image, size, one.detail) if part)), flush=True
                )
    if not as_json:
        print(
            f"{count - stay} of {count} images are in {target} now" if count else f"nothing is left to do in {source}"
        )
    if stay:
        raise SystemExit(Exit.FAILED)


class _MigrationBar:
    """One image's progress."""

    def __init__(self, bars: Bars, title: str) -> None:
        self._bars = bars
        self._task = bars.add_task(title, total=None)

    def advance(self, done: int, total: int | None, unit: str = "B") -> None:
        """See ``Progress``."""
        self._bars.update(self._task, completed=done, total=total)

    def say(self, text: str) -> None:
        """Nothing is said of it."""


def _end(status: int) -> None:
    """End at once: a store that hangs would keep its thread, and this process, for minutes."""
    os._exit(status)
