"""Say what ``./inv test`` runs beside what: guests compute while servers wait, and all else fills what is left.

What shares something dear stays in one process: all guests (they keep every processor busy, and share an appliance and
disks), and the tests of each group of servers. These shares go out first, as they take longest. Other files share
nothing that takes more than a moment to start: they go one by one to whichever process is free first.
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

# What stays together, in the order in which it is handed out.
TOGETHER = {
    "guests": ("tests/guest/",),
    "Ceph, Swift and Keystone": (
        "tests/integration/environments/",
        "tests/integration/imageservice/importing/job/test_conversion.py",
        "tests/integration/imageservice/importing/test_glance_download.py",
        "tests/integration/imageservice/importing/test_nodes.py",
        "tests/integration/imageservice/importing/test_signed.py",
        "tests/integration/imageservice/lifecycle/guards/test_encryption_keys.py",
        "tests/integration/imageservice/lifecycle/guards/test_paused.py",
        "tests/integration/imageservice/lifecycle/metadefs/test_reference.py",
        "tests/integration/imageservice/lifecycle/test_adopt.py",
        "tests/integration/imageservice/stores/",
        "tests/integration/imageservice/test_conformance.py",
        "tests/integration/imageservice/test_keystone_identity.py",
        "tests/integration/publishing/test_formats.py",
        "tests/integration/publishing/test_glance.py",
        "tests/integration/signing/keys/test_key_manager.py",
    ),
    "databases": (
        "tests/integration/imageservice/api/",
        "tests/integration/imageservice/catalog/",
        "tests/integration/imageservice/lifecycle/metadefs/test_catalogue.py",
    ),
}


def share(nodeid: str) -> str:
    """Name what a test has to stay together with: a share of ``TOGETHER``, or else its file."""
    file = nodeid.split("::")[0]
    return next((name for name, places in TOGETHER.items() if file.startswith(places)), file)


class Shares(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hand out what stays together first, then file by file in the order of collection: unit tests fill the ends."""

    def _split_scope(self, nodeid: str) -> str:
        return share(nodeid)

    def _assign_work_unit(self, node: object) -> None:
        for name in reversed(TOGETHER):
            if name in self.workqueue:
                self.workqueue.move_to_end(name, last=False)
        super()._assign_work_unit(node)


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
