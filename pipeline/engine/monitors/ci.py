"""Log for continuous integration: a foldable group for each recipe's step, failures outside of any group.

GitHub Actions and Gitea fold ``::group::`` and mark ``::error::``; GitLab folds its section marks; elsewhere (Zuul,
Jenkins) plain headings do.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Iterable
from typing import TextIO

from pipeline.base.plain_text import one_line
from pipeline.base.terminal import unguarded
from pipeline.engine.monitors.plain import Plain, failure
from pipeline.engine.record import events


class Ci:
    """Writes lines in groups. Those of a step come at its end, so that steps side by side do not mix."""

    def __init__(self, stream: TextIO | None = None, system: str | None = None) -> None:
        # The marks of groups have control characters; the lines between them are cleaned here.
        self.stream = stream or unguarded(sys.stdout)
        self.system = system or detect()
        # Nobody else can know it, and so end what it begins.
        self._token = secrets.token_hex(16)
        self._plain = Plain(self.stream)
        self._lines: dict[tuple[str, str], list[str]] = {}
        self._number = 0

    def event(self, event: events.Event) -> None:
        """Collect a step's lines; write them when it ends."""
        if isinstance(event, events.StepCached):
            self._write(self._plain.lines(event))
        elif isinstance(event, events.StepEvent):
            self._step(event)
        else:
            self._write(self._plain.lines(event))

    def tick(self) -> None:
        """Show that a long step still runs: some systems end jobs that are silent."""
        self._plain.tick()

    def close(self) -> None:
        """Write what never ended."""
        for recipe, step in list(self._lines):
            self._group(recipe, step, "not finished")

    def _step(self, event: events.StepEvent) -> None:
        key = (event.recipe, event.step)
        lines = self._lines.setdefault(key, [])
        match event:
            case events.StepFinished():
                lines += self._plain.lines(event)
                self._group(*key, "done")
            case events.StepFailed():
                list(self._plain.lines(event))
                self._group(*key, "failed")
                self._error(event)
            case _:
                lines += self._plain.lines(event)

    def _group(self, recipe: str, step: str, how: str) -> None:
        self._number += 1
        title = f"{recipe}: {step}: {how}"
        lines = self._lines.pop((recipe, step), [])
        name = f"step_{self._number}"
        begin, end = {
            "github": (f"::group::{title}", "::endgroup::"),
            "gitlab": (
                f"\x1b[0Ksection_start:{time.time():.0f}:{name}[collapsed=true]\r\x1b[0K{title}",
                f"\x1b[0Ksection_end:{time.time():.0f}:{name}\r\x1b[0K",
            ),
        }.get(self.system, (f"== {title}", ""))
        self._print(begin)
        self._write(f"  {line}" for line in lines)
        if end:
            self._print(end)

    def _error(self, event: events.StepFailed) -> None:
        if self.system == "github":
            title, message = one_line(f"{event.recipe}: {event.step}"), one_line(event.message)
            self._print(f"::error title={_escaped(title, ':,')}::{_escaped(message)}")
        self._write(failure(event))

    def _write(self, lines: Iterable[str]) -> None:
        """Print ``lines``; GitHub's runner must not take what a guest said for its own commands."""
        shown = [one_line(line) for line in lines]
        fenced = self.system == "github" and any("::" in line or "##[" in line for line in shown)
        for line in (f"::stop-commands::{self._token}", *shown, f"::{self._token}::") if fenced else shown:
            self._print(line)

    def _print(self, line: str) -> None:
        print(line, file=self.stream, flush=True)


def detect() -> str:
    """Return which system's marks to write: ``github``, ``gitlab`` or ``plain``."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        return "github"
    return "gitlab" if os.environ.get("GITLAB_CI") == "true" else "plain"


def _escaped(text: str, more: str = "") -> str:
    """As GitHub's workflow commands want it: percent signs, line breaks and separators as %XX."""
    for character in f"%\r\n{more}":
        text = text.replace(character, f"%{ord(character):02X}")
    return text
