"""Each way to show a run says what matters, and keeps its form."""

from __future__ import annotations

import io
import json
import re

import pytest

from pipeline.base.terminal import SafeConsole
from pipeline.engine.monitors import choice, ci
from pipeline.engine.monitors.ci import Ci
from pipeline.engine.monitors.json_lines import JsonLines
from pipeline.engine.monitors.outlook import Outlook
from pipeline.engine.monitors.plain import Plain
from pipeline.engine.monitors.terminal import Terminal
from pipeline.engine.monitors.words import duration, measure
from pipeline.engine.record import events
from pipeline.engine.record.events import Event

A_RUN: list[Event] = [
    events.RunStarted(run="r1", folder="/runs/r1", recipes=("tiny",)),
    events.RunNoted(text="removed a leftover"),
    events.BuildStarted(recipe="tiny", steps=(events.StepAhead("install", (), 9.0),)),
    events.StepCached(recipe="tiny", step="install", seconds=9.0),
    events.StepWaiting(recipe="tiny", step="convert", reason="waits for process 7 (building tiny)"),
    events.StepStarted(recipe="tiny", step="convert", log="/l", expected=3.0),
    events.StepProgress(recipe="tiny", step="convert", done=1 << 20, total=2 << 20, unit="B"),
    events.StepSaid(recipe="tiny", step="convert", text="writing raw"),
    events.StepFinished(recipe="tiny", step="convert", seconds=2.5),
    events.StepStarted(recipe="tiny", step="boot", log="/l"),
    events.StepFailed(
        recipe="tiny",
        step="boot",
        message="no [carrier]",
        hint="plug it in",
        details=("a detail",),
        seconds=1.0,
        log="/runs/r1/tiny/boot.log",
        evidence="/runs/r1/tiny/evidence/boot",
    ),
    events.BuildFinished(recipe="tiny", good=False, changed=True, seconds=4.0, products=()),
    events.RunFinished(run="r1", good=False, seconds=4.0),
]


def test_plain_lines() -> None:
    stream = io.StringIO()
    monitor = Plain(stream)
    for event in A_RUN:
        monitor.event(event)
        monitor.tick()
    monitor.close()
    assert stream.getvalue().splitlines() == [
        "removed a leftover",
        "tiny: install: cached",
        "tiny: convert: waits for process 7 (building tiny)",
        "tiny: convert: started (usually 3.0 s)",
        "tiny: convert: writing raw",
        "tiny: convert: done in 2.5 s",
        "tiny: boot: started",
        "tiny: boot: failed after 1.0 s: no [carrier]",
        "    a detail",
        "    log:      /runs/r1/tiny/boot.log",
        "    evidence: /runs/r1/tiny/evidence/boot",
        "    hint:     plug it in",
        "tiny: failed after 4.0 s",
    ]


def test_plain_lines_show_that_long_steps_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monitor = Plain(stream)
    monkeypatch.setattr("pipeline.engine.monitors.plain._EVERY", 0.0)
    started, progress = A_RUN[5:7]
    monitor.event(started)
    monitor.tick()
    assert re.search(r"tiny: convert: … for \d\.\d s now\n$", stream.getvalue()), "it does not say how far it is"
    monitor.event(progress)
    monitor.tick()
    assert stream.getvalue().endswith("tiny: convert: … 1.0 MiB of 2.0 MiB\n")


def test_json_lines() -> None:
    stream = io.StringIO()
    monitor = JsonLines(stream)
    for event in A_RUN:
        monitor.event(event)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [type(event).__name__ for event in A_RUN]
    assert lines[2]["steps"] == [{"name": "install", "after": [], "expected": 9.0}]
    assert lines[10]["details"] == ["a detail"]
    assert all(line["at"] > 1.7e9 for line in lines)


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


def _ahead(**expected: float | None) -> tuple[events.StepAhead, ...]:
    """install, then boot and scan side by side, then sign."""
    after = {"boot": ("install",), "scan": ("install",), "sign": ("boot", "scan")}
    return tuple(events.StepAhead(name, after.get(name, ()), seconds) for name, seconds in expected.items())


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
        monitor.event(events.BuildStarted(recipe=name, steps=_ahead(install=10, boot=20, scan=40, sign=1)))
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


def test_an_outlook_follows_the_longest_way() -> None:
    outlook = Outlook(_ahead(install=10.0, boot=20.0, scan=40.0, sign=1.0))
    assert (outlook.left({}), outlook.share({})) == (51.0, 0.0)
    assert outlook.left({"install": 4.0}) == 47.0
    outlook.done("install")
    assert outlook.left({"boot": 5.0, "scan": 5.0}) == 36.0
    assert outlook.left({"boot": 0.0, "scan": 100.0}) == 21.0, "what is slower than usual ends any moment"
    assert outlook.share({"boot": 0.5}) == pytest.approx(20 / 71)
    for step in ("boot", "scan", "sign"):
        outlook.done(step)
    assert (outlook.left({}), outlook.share({})) == (0.0, 1.0)


def test_an_outlook_knows_what_it_does_not_know() -> None:
    outlook = Outlook(_ahead(install=None, boot=20.0, scan=40.0, sign=1.0))
    assert outlook.left({}) is None
    assert outlook.share({"install": 0.5}) == pytest.approx(1 / 8), "each step counts the same"
    outlook.done("install")
    assert outlook.left({}) == 41.0
    assert Outlook(()).share({}) == 0.0


@pytest.mark.parametrize(
    ("system", "begin", "end"),
    [
        ("github", "::group::tiny: convert: done", "::endgroup::"),
        ("gitlab", "[collapsed=true]\r\x1b[0Ktiny: convert: done", "section_end:"),
        ("plain", "== tiny: convert: done", ""),
    ],
)
def test_groups(system: str, begin: str, end: str) -> None:
    stream = io.StringIO()
    monitor = Ci(stream, system)
    for event in A_RUN:
        monitor.event(event)
    monitor.close()
    said = stream.getvalue()
    assert begin in said and end in said
    lines = said.split("\n")
    error = next(index for index, line in enumerate(lines) if "failed after 1.0 s" in line)
    assert lines[error].startswith("tiny:"), "a failure is never folded away"
    assert ("::error title=tiny%3A boot::no [carrier]" in said) == (system == "github")


def test_groups_of_steps_side_by_side_do_not_mix() -> None:
    stream = io.StringIO()
    monitor = Ci(stream, "github")
    for recipe in ("a", "b"):
        monitor.event(events.StepStarted(recipe=recipe, step="s", log=""))
    for recipe in ("a", "b"):
        monitor.event(events.StepSaid(recipe=recipe, step="s", text="x"))
        monitor.event(events.StepFinished(recipe=recipe, step="s", seconds=1.0))
    inside = stream.getvalue().split("::group::")[1]
    assert "a: s" in inside and "b: s" not in inside


@pytest.mark.parametrize(
    ("variables", "system"),
    [({"GITHUB_ACTIONS": "true"}, "github"), ({"GITLAB_CI": "true"}, "gitlab"), ({}, "plain")],
)
def test_the_system_is_known_by_its_variables(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], system: str
) -> None:
    for name in ("GITHUB_ACTIONS", "GITLAB_CI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ci.detect() == system


def test_the_monitor_fits_the_output() -> None:
    assert isinstance(choice.choose(as_json=True), JsonLines)
    assert isinstance(choice.choose(ci=True), Ci)
    assert isinstance(choice.choose(), Plain)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0 s"), (9.4, "9.4 s"), (12.6, "13 s"), (185, "3 m 05 s"), (3725, "1 h 02 m")]
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        ((40, 100, "%"), "40 %"),
        ((512, None, "B"), "512 B"),
        ((1 << 20, 1 << 30, "B"), "1.0 MiB of 1.0 GiB"),
        ((3, 7, "files"), "3 of 7 files"),
        ((3, None, "files"), "3 files"),
    ],
)
def test_measures(measured: tuple[int, int | None, str], words: str) -> None:
    assert measure(*measured) == words
