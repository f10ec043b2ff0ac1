"""Show a run on a terminal."""

from __future__ import annotations

import io

from pipeline.base.terminal import SafeConsole
from pipeline.engine.monitors.terminal import Terminal
from pipeline.engine.record import events
from tests.unit.engine.monitors.a_run import A_RUN, ahead


def test_a_terminal() -> None:
    stream = io.StringIO()
    monitor = Terminal(SafeConsole(file=stream, force_terminal=True, width=100, color_system=None, highlight=False))
    for event in A_RUN:
        monitor.event(event)
        monitor._drawn = 0.0
        monitor.tick()
    monitor.close()
    monitor.close()
    said = stream.getvalue()
    for words in (
        "✓ tiny: convert 2.5 s",
        "· tiny: install cached",
        "no [carrier]",
        "plug it in",
        "1.0 MiB of 2.0 MiB",
    ):
        assert words in said
    assert "━" in said, "a bar"


def _frame(terminal: Terminal) -> list[str]:
    """What stands below, as a terminal of 80 columns shows it."""
    terminal._draw()
    paper = SafeConsole(file=io.StringIO(), width=80, color_system=None)
    with paper.capture() as captured:
        paper.print(terminal.live.get_renderable())
    return [line.rstrip() for line in captured.get().splitlines()]


def test_a_terminal_has_a_bar_for_each_build_and_cuts_no_name() -> None:
    monitor = Terminal(
        SafeConsole(file=io.StringIO(), force_terminal=True, width=80, color_system=None, highlight=False)
    )
    names = ("rhel7-guest-image", "tiny-a", "tiny-b")
    for name in names:
        monitor.event(events.BuildStarted(recipe=name, steps=ahead(install=10, boot=20, scan=40, sign=1)))
        monitor.event(events.StepFinished(recipe=name, step="install", seconds=9.0))
    reason = "waits for memory, disk or a guest's end"
    for name in names[:2]:
        monitor.event(events.StepStarted(recipe=name, step="boot", log="", expected=20.0))
        monitor.event(events.StepProgress(recipe=name, step="boot", done=1, total=180, unit="s"))
        monitor.event(events.StepWaiting(recipe=name, step="scan", reason=reason))
    monitor.event(events.StepWaiting(recipe="tiny-b", step="boot", reason=reason))
    for row in monitor._rows.values():
        row.begun -= 10
    lines = _frame(monitor)
    assert [line.split()[0] for line in lines] == ["rhel7-guest-image", "boot", "tiny-a", "boot", "tiny-b", "boot"]
    assert all(len(line) <= 80 for line in lines)
    assert all("41 s left" in line for line in lines[::2])
    assert lines[1].count("━") == 8, "half of what is usual, not a little of the patience"
    assert "waiting" in lines[5] and lines[5].endswith("…")
    monitor.event(events.BuildFinished(recipe="tiny-a", good=True, changed=True, seconds=9.0, products=()))
    monitor._rows.clear()
    assert [line.split()[0] for line in _frame(monitor)] == ["rhel7-guest-image", "tiny-b"]
    monitor.close()
