"""Say what ``./inv test`` runs beside what: guests compute while servers wait, and unit tests fill what is left.

Two processes each take a whole share: all guests (they keep every processor busy, and share an appliance and disks), or
all integration tests (they wait for servers, and share those). Unit tests share nothing: they go file by file to
whichever process is free first. So nothing that is shared is made twice, or used by two processes at once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Generator, Sequence

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import NodeManager

# How long, in seconds, processes may take to end their servers and guests after Ctrl-C before they are killed.
NodeManager.EXIT_TIMEOUT = 60

# Category, letter, and word (with its colours).
Status = tuple[str, str, str | tuple[str, dict[str, bool]]]

_WHOLE = ("tests/guest/", "tests/integration/")


def share(nodeid: str) -> str:
    """Name what a test has to stay together with: its room, or else its file."""
    file = nodeid.split("::")[0]
    return next((room for room in _WHOLE if file.startswith(room)), file)


class Shares(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hand out shares in the order of collection, which begins with the guests: they take longest."""

    def _split_scope(self, nodeid: str) -> str:
        return share(nodeid)


class Lines:
    """Print a line for each file that is done, instead of dots that do not say whose they are."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._reporting = False
        self._left: Counter[str] = Counter()
        self._letters: dict[str, str] = defaultdict(str)
        self._all = self._done = 0

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: object, ids: Sequence[str]) -> None:
        """Learn how many tests each file has; every process collects the same ones."""
        self._left = Counter(nodeid.split("::")[0] for nodeid in ids)
        self._all = len(ids)

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> Generator[None, Status, Status]:
        """Take the letter of a test that has just run out of the stream, into the line of its file."""
        category, letter, word = yield
        if not self._reporting:
            return category, letter, word
        self._letters[report.nodeid.split("::")[0]] += letter
        return category, "", ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, None, None]:
        """Print the line of a file whose last test is done."""
        self._reporting = True
        yield
        self._reporting = False
        if report.when != "teardown":
            return
        file = report.nodeid.split("::")[0]
        self._left[file] -= 1
        self._done += 1
        if not self._left[file]:
            reporter: pytest.TerminalReporter = self._config.pluginmanager.getplugin("terminalreporter")
            reporter.write_line(f"[{self._done * 100 // self._all:3}%] {file} {self._letters.pop(file)}")
