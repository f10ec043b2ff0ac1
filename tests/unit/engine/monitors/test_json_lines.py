"""Show a run as JSON lines."""

from __future__ import annotations

import io
import json

from pipeline.engine.monitors.json_lines import JsonLines
from tests.unit.engine.monitors.a_run import A_RUN


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
