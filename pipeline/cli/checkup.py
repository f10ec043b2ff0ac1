"""Run ``./inv doctor``: ask every room's preflight rules and print what they found."""

from __future__ import annotations

import importlib
import json
import pkgutil

from rich.text import Text

import pipeline
from pipeline.base.home import Home
from pipeline.base.terminal import SafeConsole
from pipeline.cli.task import Exit
from pipeline.host import doctor
from pipeline.host.doctor import PreflightFinding, PreflightLevel

_MARKS = {
    PreflightLevel.GOOD: ("ok", "green"),
    PreflightLevel.NOTE: ("note", "blue"),
    PreflightLevel.WARNING: ("warn", "yellow"),
    PreflightLevel.FAILURE: ("FAIL", "bold red"),
}


def run(home: Home, *, as_json: bool = False) -> None:
    """Print each finding as soon as it is there; end with status 1 when one stops work."""
    load_rules()
    found = []
    console = SafeConsole()
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


def _show(console: SafeConsole, finding: PreflightFinding) -> None:
    mark, style = _MARKS[finding.verdict.level]
    line = Text.assemble((f"{mark:>4}  ", style), (f"{finding.rule:<16}  ", "bold"), finding.verdict.text)
    console.print(line, soft_wrap=True)
    if finding.verdict.fix and finding.verdict.level is not PreflightLevel.GOOD:
        console.print(Text.assemble(" " * 24, ("fix: ", "cyan"), finding.verdict.fix), soft_wrap=True)


def _sum_up(console: SafeConsole, found: list[PreflightFinding]) -> None:
    count = {level: sum(each.verdict.level is level for each in found) for level in PreflightLevel}
    console.print()
    if count[PreflightLevel.FAILURE]:
        console.print(
            f"{count[PreflightLevel.FAILURE]} of {len(found)} checks failed: mend them, then ./inv doctor again"
        )
    else:
        console.print(f"ready: {len(found)} checks, {count[PreflightLevel.WARNING]} warnings")
