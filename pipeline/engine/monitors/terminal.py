"""Draw on a terminal: what is done scrolls by; below stand a bar for each build and one for each of its running
steps.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from pipeline.base.terminal import SafeConsole, SafeTable
from pipeline.engine.monitors.plain import failure, finished
from pipeline.engine.monitors.time_estimate import TimeEstimate
from pipeline.engine.monitors.units import duration, measure
from pipeline.engine.record import events

_FRAMES = 8  # a second
_WIDE = 100  # columns


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

    def how_far(self, now: float) -> float | None:
        """As the step says itself, else by the time it usually takes."""
        if self.share is None and self.expected:
            return min(0.99, (now - self.begun) / self.expected)
        return self.share


class Terminal:
    """Draws the run."""

    def __init__(self, console: SafeConsole | None = None) -> None:
        self.console = console or SafeConsole()
        self.live = Live(console=self.console, auto_refresh=False, transient=True)
        self._builds: dict[str, TimeEstimate] = {}
        self._rows: dict[tuple[str, str], _Row] = {}
        self._drawn = 0.0

    def event(self, event: events.Event) -> None:
        """Change the rows; print what is over."""
        if not self.live.is_started:
            self.live.start()
        match event:
            case events.RunNoted(text=text):
                self._print(Text(text, style="yellow"))
            case events.BuildStarted(recipe=recipe, steps=steps):
                self._builds[recipe] = TimeEstimate(steps)
            case events.StepEvent():
                self._step(event)
            case events.BuildFinished():
                self._builds.pop(event.recipe, None)
                self._print(Text(finished(event), style="bold green" if event.good else "bold red"))

    def tick(self) -> None:
        """Move the bars."""
        now = time.monotonic()
        if now - self._drawn >= 1 / _FRAMES:
            self._drawn = now
            self._draw()

    def close(self) -> None:
        """Take the bars away."""
        self._builds.clear()
        self._rows.clear()
        if self.live.is_started:
            self._draw()
            self.live.stop()

    def _step(self, event: events.StepEvent) -> None:
        key = (event.recipe, event.step)
        match event:
            case events.StepCached():
                self._over(key)
                self._done(event, "·", "cached", "dim")
            case events.StepWaiting(reason=reason):
                self._rows[key] = _Row(*key, text=reason, waits=True)
            case events.StepStarted(expected=expected):
                self._rows[key] = _Row(*key, expected=expected)
            case events.StepProgress(done=done, total=total, unit=unit):
                row = self._row(key)
                # Seconds are counted towards the end of somebody's patience.
                row.share = min(1.0, done / total) if total and unit != "s" else None
                row.text = measure(done, total, unit)
            case events.StepSaid(text=text):
                row = self._row(key)
                row.text, row.share = text, None
            case events.StepFinished(seconds=seconds):
                self._over(key)
                self._done(event, "✓", duration(seconds), "green")
            case events.StepFailed():
                self._rows.pop(key, None)
                for number, line in enumerate(failure(event)):
                    self._print(Text(line, style="bold red" if number == 0 else ""))

    def _row(self, key: tuple[str, str]) -> _Row:
        return self._rows.setdefault(key, _Row(*key))

    def _over(self, key: tuple[str, str]) -> None:
        recipe, step = key
        self._rows.pop(key, None)
        if recipe in self._builds:
            self._builds[recipe].done(step)

    def _done(self, event: events.StepEvent, sign: str, words: str, style: str) -> None:
        self._print(Text(f"{sign} {event.recipe}: {event.step} {words}", style=style))

    def _print(self, text: Text) -> None:
        self.console.print(text, soft_wrap=True)

    def _draw(self) -> None:
        table = SafeTable.grid(padding=(0, 1))
        for _ in range(3):
            table.add_column(no_wrap=True)
        # What a narrow terminal has no room for is cut off here, and not from names.
        table.add_column()
        now = time.monotonic()
        for recipe in dict.fromkeys([*self._builds, *(recipe for recipe, _ in self._rows)]):
            for name, bar, times, text in self._lines(recipe, now):
                table.add_row(name, bar, times, Text(text, no_wrap=True, overflow="ellipsis"))
        self.live.update(table, refresh=True)

    def _lines(self, recipe: str, now: float) -> Iterator[tuple[Text, ProgressBar | Text, str, str]]:
        """Yield the build's line, and one for each step that runs; those that wait only when none does."""
        rows = [row for row in self._rows.values() if row.recipe == recipe]
        running = [row for row in rows if not row.waits]
        build = self._builds.get(recipe)
        if build is not None:
            left = build.left({row.step: now - row.begun for row in running})
            share = build.share({row.step: row.how_far(now) or 0.0 for row in running})
            yield Text(recipe, style="bold"), self._bar(share), f"{duration(left)} left" if left else "", ""
        for row in running or rows:
            name = Text(f"  {row.step}") if build else Text.assemble((row.recipe, "bold"), f" {row.step}")
            bar = Text("waiting", style="yellow") if row.waits else self._bar(row.how_far(now))
            yield name, bar, _times(row, now - row.begun), row.text

    def _bar(self, share: float | None) -> ProgressBar:
        """Return a bar that is filled so far, or one that only moves."""
        width = 24 if self.console.width >= _WIDE else 16
        return ProgressBar(total=1.0, completed=share or 0.0, width=width, pulse=share is None)


def _times(row: _Row, spent: float) -> str:
    if row.expected is None or row.waits:
        return duration(spent)
    return f"{duration(spent)} / {duration(row.expected)}"
