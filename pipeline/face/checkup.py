"""``./inv doctor``: asks every room's preflight rules and prints what they found."""

from __future__ import annotations

import importlib
import json
import pkgutil

from rich.console import Console
from rich.text import Text

import pipeline
from pipeline.base.home import Home
from pipeline.face.task import Exit
from pipeline.host import doctor
from pipeline.host.doctor import Finding, Level

_MARKS = {
    Level.GOOD: ("ok", "green"),
    Level.NOTE: ("note", "blue"),
    Level.WARNING: ("warn", "yellow"),
    Level.FAILURE: ("FAIL", "bold red"),
}


def run(home: Home, *, as_json: bool = False) -> None:
    """Print each finding as soon as it is there; end with status 1 when one stops work."""
    load_rules()
    found = []
    console = Console(highlight=False)
    for finding in doctor.examine(home):
        found.append(finding)
        if not as_json:
            _show(console, finding)
    if as_json:
        rows = [
            {"rule": each.rule, "level": each.verdict.level, "text": each.verdict.text, "fix": each.verdict.fix}
            for each in found
        ]
        print(json.dumps(rows, indent=2))
    else:
        _sum_up(console, found)
    if any(each.verdict.level.stops_work for each in found):
        raise SystemExit(Exit.FAILED)


def load_rules() -> None:
    """Import the module ``preflight`` of each room that has one, lower floors first as far as names tell."""
    for room in sorted(pkgutil.iter_modules(pipeline.__path__), key=lambda room: (room.name != "host", room.name)):
        name = f"pipeline.{room.name}.preflight"
        if room.ispkg and importlib.util.find_spec(name):
            importlib.import_module(name)


def _show(console: Console, finding: Finding) -> None:
    mark, style = _MARKS[finding.verdict.level]
    line = Text.assemble((f"{mark:>4}  ", style), (f"{finding.rule:<16}  ", "bold"), finding.verdict.text)
    console.print(line, soft_wrap=True)
    if finding.verdict.fix and finding.verdict.level is not Level.GOOD:
        console.print(Text.assemble(" " * 24, ("fix: ", "cyan"), finding.verdict.fix), soft_wrap=True)


def _sum_up(console: Console, found: list[Finding]) -> None:
    count = {level: sum(each.verdict.level is level for each in found) for level in Level}
    if count[Level.FAILURE]:
        console.print(f"\n{count[Level.FAILURE]} of {len(found)} checks failed: mend them, then ./inv doctor again")
    else:
        console.print(f"\nready: {len(found)} checks, {count[Level.WARNING]} warnings")
