"""Let no test go unseen: where everything has to run, a skip whose reason is not in ``skips.txt`` fails the run.

All are printed with their reasons by pytest itself (``-ra``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

LIST = Path(__file__).with_name("skips.txt")
# How the run ends then. It is not 1: `.ci/run` has tests that failed run again, which mends no skip.
NOT_ALLOWED = 8


def allowed() -> list[str]:
    """The expressions of the list."""
    lines = (line.strip() for line in LIST.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def unexpected(reports: Iterable[Any]) -> Iterator[str]:
    """What was skipped for a reason that is not on the list, with the reason."""
    reasons = allowed()
    for report in reports:
        reason = report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
        if not any(re.match(each, reason) for each in reasons):
            yield f"{report.nodeid}: {reason}"


class Skips:
    """Fails the run, once all tests are done, for what is ``unexpected``."""

    def __init__(self) -> None:
        self._found: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Judge, after all tests."""
        reporter = session.config.pluginmanager.getplugin("terminalreporter")
        if reporter is None or not os.environ.get("PIPELINE_ALL_SERVERS"):
            return
        self._found = list(unexpected(reporter.stats.get("skipped", ())))
        if self._found and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            session.exitstatus = NOT_ALLOWED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what must not be skipped here."""
        if self._found:
            terminalreporter.section(f"skipped, and not in {LIST.name}: the run has failed", red=True)
            for line in self._found:
                terminalreporter.write_line(line)
