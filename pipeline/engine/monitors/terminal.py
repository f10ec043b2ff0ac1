"""A terminal: what is done scrolls by, what runs stands below with a bar for each step."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.engine import events
from pipeline.engine.monitors.plain import failure, finished
from pipeline.engine.monitors.words import duration, measure

_FRAMES = 8  # a second


@dataclass
class _Row:
    """A step that runs or waits."""

    recipe: str
    step: str
    begun: float = field(default_factory=time.monotonic)
    expected: float | None = None
    share: float | None = None
    text: str = ""
    waits: bool = False


class Terminal:
    """Draws the run."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.live = Live(console=self.console, auto_refresh=False, transient=True)
        self._rows: dict[tuple[str, str], _Row] = {}
        self._drawn = 0.0

    def event(self, event: events.Event) -> None:
        """Change the rows; print what is over."""
        if not self.live.is_started:
            self.live.start()
        match event:
            case events.RunNoted(text=text):
                self._print(Text(text, style="yellow"))
            case events.StepEvent():
                self._step(event)
            case events.BuildFinished():
                self._print(Text(finished(event), style="bold green" if event.good else "bold red"))

    def tick(self) -> None:
        """Move the bars."""
        now = time.monotonic()
        if now - self._drawn >= 1 / _FRAMES:
            self._drawn = now
            self._draw()

    def close(self) -> None:
        """Take the bars away."""
        self._rows.clear()
        if self.live.is_started:
            self._draw()
            self.live.stop()

    def _step(self, event: events.StepEvent) -> None:
        key = (event.recipe, event.step)
        match event:
            case events.StepCached():
                self._rows.pop(key, None)
                self._done(event, "·", "cached", "dim")
            case events.StepWaiting(reason=reason):
                self._rows[key] = _Row(*key, text=reason, waits=True)
            case events.StepStarted(expected=expected):
                self._rows[key] = _Row(*key, expected=expected)
            case events.StepProgress(done=done, total=total):
                row = self._row(key)
                row.share = min(1.0, done / total) if total else None
                row.text = measure(done, total, event.unit)
            case events.StepSaid(text=text):
                row = self._row(key)
                row.text, row.share = text, None
            case events.StepFinished(seconds=seconds):
                self._rows.pop(key, None)
                self._done(event, "✓", duration(seconds), "green")
            case events.StepFailed():
                self._rows.pop(key, None)
                for number, line in enumerate(failure(event)):
                    self._print(Text(line, style="bold red" if number == 0 else ""))

    def _row(self, key: tuple[str, str]) -> _Row:
        return self._rows.setdefault(key, _Row(*key))

    def _done(self, event: events.StepEvent, sign: str, words: str, style: str) -> None:
        self._print(Text(f"{sign} {event.recipe}: {event.step} {words}", style=style))

    def _print(self, text: Text) -> None:
        self.console.print(text, soft_wrap=True)

    def _draw(self) -> None:
        table = Table.grid(padding=(0, 1))
        for _ in range(4):
            table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, ratio=1)
        now = time.monotonic()
        for row in self._rows.values():
            spent = now - row.begun
            table.add_row(
                Text(row.recipe, style="bold"), row.step, _bar(row, spent), Text(_times(row, spent)), Text(row.text)
            )
        self.live.update(table, refresh=True)


def _bar(row: _Row, spent: float) -> ProgressBar | Text:
    """How far the step is: as it says itself, else by the time it usually takes, else only that it moves."""
    if row.waits:
        return Text("waiting", style="yellow")
    share = row.share
    if share is None and row.expected:
        share = min(0.99, spent / row.expected)
    return ProgressBar(total=1.0, completed=share or 0.0, width=24, pulse=share is None)


def _times(row: _Row, spent: float) -> str:
    if row.expected is None or row.waits:
        return duration(spent)
    return f"{duration(spent)} / {duration(row.expected)}"
