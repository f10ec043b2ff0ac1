"""Choose how a run is shown."""

from __future__ import annotations

from pipeline.engine.monitors import choice
from pipeline.engine.monitors.ci import Ci
from pipeline.engine.monitors.json_lines import JsonLines
from pipeline.engine.monitors.plain import Plain


def test_the_monitor_fits_the_output() -> None:
    assert isinstance(choice.choose(as_json=True), JsonLines)
    assert isinstance(choice.choose(ci=True), Ci)
    assert isinstance(choice.choose(), Plain)
