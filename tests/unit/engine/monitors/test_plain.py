"""Show a run line by line."""

from __future__ import annotations

import io
import re

import pytest

from pipeline.engine.monitors.plain import Plain
from tests.unit.engine.monitors.a_run import A_RUN


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
