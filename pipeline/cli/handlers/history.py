"""Carry out ``./inv runs``, ``show``, ``logs`` and ``reap``: earlier runs, and what they left."""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.text import Text

from pipeline.base import plain_text
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.base.plain_text import one_line
from pipeline.base.terminal import SafeConsole, SafeTable
from pipeline.engine.cache.store import CacheStore
from pipeline.engine.monitors.units import duration
from pipeline.engine.record import runs as past
from pipeline.engine.run.reap import reap as reap_all

_STYLES = {"good": "green", "failed": "bold red", "killed": "red", "interrupted": "yellow", "running": "cyan"}


def runs(*, count: int = 20, as_json: bool = False) -> None:
    """Print the newest runs."""
    if count < 1:
        raise PipelineError(f"--count {count}: at least 1")
    found = past.past_runs(Home.default())[:count]
    if as_json:
        print(json.dumps([{**run.head, "status": run.status} for run in found], indent=2))
        return
    if not found:
        print("no runs yet")
    table = SafeTable.grid(padding=(0, 2))
    for run in found:
        took = duration(run.seconds) if run.seconds is not None else ""
        began = datetime.fromisoformat(run.head["started"]).astimezone()
        style = _STYLES[run.status]
        names = ", ".join(run.head.get("recipes", ()))
        table.add_row(run.name, f"{began:%Y-%m-%d %H:%M}", Text(run.status, style=style), took, names)
    if found:
        SafeConsole().print(table)


def show(name: str, *, as_json: bool = False) -> None:
    """Print one run: what each recipe's steps did, what failed and where its evidence is."""
    run = past.find(Home.default(), name)
    if as_json:
        print(json.dumps({**run.head, "status": run.status, "events": list(run.events())}, indent=2))
        return
    console = SafeConsole()
    title = Text.assemble((run.name, "bold"), "  ", (run.status, _STYLES[run.status]), f"  {run.folder}")
    console.print(title, soft_wrap=True)
    results = run.head.get("results")
    for recipe, result in (results or {}).items():
        word = ("built" if result["changed"] else "nothing changed") if result["good"] else "failed"
        if run.status == "interrupted" and not result["good"]:
            word = "interrupted"
        _show_steps(console, recipe, f"{word}  {duration(result['seconds'])}", result["steps"])
        _show_products(console, result["products"])
    for recipe, steps in (run.so_far() if results is None else {}).items():
        _show_steps(console, recipe, "so far", steps)
    for event in run.events():
        if event["event"] == "StepFailed":
            _show_failure(console, event)


def logs(name: str, step: str = "", *, follow: bool = False) -> None:
    """Print a step's log, or the list of logs; with ``follow`` what is added to it, too."""
    run = past.find(Home.default(), name)
    if not step:
        for path in run.logs():
            print(one_line(f"{path.parent.name}/{path.stem}  {path}"))
        return
    file = past.find_log(run, step)
    # What a guest or a program printed: as text, without what would command the terminal.
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for block in past.follow(run, file) if follow else [file.read_bytes()]:
        sys.stdout.write(plain_text.lines(decoder.decode(block)))
        sys.stdout.flush()


def reap() -> None:
    """Remove what dead runs left."""
    home = Home.default()
    removed = reap_all(home, CacheStore.open(home.cache))
    print("\n".join(one_line(each) for each in removed) or "nothing was left by dead runs")


def _show_steps(console: SafeConsole, recipe: str, title: str, steps: Mapping[str, Mapping[str, Any]]) -> None:
    console.print(Text.assemble((recipe, "bold"), f"  {title}"))
    table = SafeTable.grid(padding=(0, 2))
    for step, outcome in steps.items():
        table.add_row("", step, outcome["status"], duration(outcome["seconds"]) if outcome["seconds"] else "")
    console.print(table)


def _show_products(console: SafeConsole, products: Sequence[Mapping[str, Any]]) -> None:
    for product in products:
        # A path is there to be copied: whole, on a line of its own.
        line = f"  {product['format']}  sha256 {product['digests']['sha256'][:16]}…  {product['path']}"
        console.print(Text(line), soft_wrap=True)


def _show_failure(console: SafeConsole, event: dict[str, Any]) -> None:
    console.print(Text(f"{event['recipe']}: {event['step']}: {event['message']}", style="bold red"), soft_wrap=True)
    places = [f"{key}: {event[key]}" for key in ("hint", "log", "evidence") if event.get(key)]
    for line in (*event["details"], *places):
        console.print(Text(f"    {line}"), soft_wrap=True)
