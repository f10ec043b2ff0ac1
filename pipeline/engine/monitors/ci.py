"""Logs for continuous integration: a foldable group for each recipe's step, failures outside of any group.

GitHub Actions and Gitea fold ``::group::`` and mark ``::error::``; GitLab folds its section marks; elsewhere (Zuul,
Jenkins) plain headings do.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import TextIO

from pipeline.engine import events
from pipeline.engine.monitors.plain import Plain, failure


class Ci:
    """Writes lines in groups. Those of a step come at its end, so that steps side by side do not mix."""

    def __init__(self, stream: TextIO | None = None, system: str | None = None) -> None:
        self.stream = stream or sys.stdout
        self.system = system or detect()
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
                self._write(self._error(event))
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
        self._write([begin, *(f"  {line}" for line in lines), *([end] if end else [])])

    def _error(self, event: events.StepFailed) -> Iterator[str]:
        if self.system == "github":
            yield f"::error title={_escaped(f'{event.recipe}: {event.step}', ':,')}::{_escaped(event.message)}"
        yield from failure(event)

    def _write(self, lines: Iterator[str] | list[str]) -> None:
        for line in lines:
            print(line, file=self.stream, flush=True)


def detect() -> str:
    """Which system's marks to write: ``github``, ``gitlab`` or ``plain``."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        return "github"
    return "gitlab" if os.environ.get("GITLAB_CI") == "true" else "plain"


def _escaped(text: str, more: str = "") -> str:
    """As GitHub's workflow commands want it: percent signs, line breaks and separators as %XX."""
    for character in f"%\r\n{more}":
        text = text.replace(character, f"%{ord(character):02X}")
    return text
