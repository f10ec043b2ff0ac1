"""Choose the monitor that fits where the output goes."""

from __future__ import annotations

import os
import sys

from pipeline.engine.monitors.ci import Ci
from pipeline.engine.monitors.json_lines import JsonLines
from pipeline.engine.monitors.plain import Plain
from pipeline.engine.monitors.terminal import Terminal
from pipeline.engine.record.events import Monitor


def choose(*, as_json: bool = False, ci: bool = False) -> Monitor:
    """Return JSON or groups when asked for; else bars on a terminal that can draw them, else plain lines."""
    if as_json:
        return JsonLines()
    if ci:
        return Ci()
    able = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return Terminal() if able else Plain()
