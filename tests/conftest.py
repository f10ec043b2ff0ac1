"""What all tests share: their own home, no real processes in unit tests, a small disk, an ordinary user, shards."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from pipeline.base.home import CHECKOUT, Home
from pipeline.host.system import process
from tests import side_by_side, skips

pytest_plugins = ["tests.environments.fixtures"]

# How long an example takes says nothing on a machine that does other work as well.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")

# Roughly how many plain tests one test of a kind costs; only used to even out shards.
_COST = {"guest": 60, "server": 8, "long": 100}


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(skips.Skips())
    if config.getoption("dist", "no") == "loadscope" and config.getoption("verbose") == 0:
        config.pluginmanager.register(side_by_side.Lines(config))
    # A shell that starts us in the background has us ignore Ctrl-C, and what the tests start would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector from thousands of tests and their modules, which all stay to the end.

    Looking through them now and again took a third of the processor time of tests in this process.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    return side_by_side.Shares(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shard", metavar="I/N", help="run only the I-th of N parts")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    shard = config.getoption("--shard")
    if not shard:
        return
    number, count = map(int, shard.split("/"))
    mine = _shares(items, count)[number - 1]
    kept = [item for item in items if item.path in mine]
    config.hook.pytest_deselected(items=[item for item in items if item.path not in mine])
    items[:] = kept


def _shares(items: Sequence[pytest.Item], count: int) -> list[set[Path]]:
    """The files of each shard. A file is never split: its tests share guests and servers."""
    costs: dict[Path, int] = defaultdict(int)
    for item in items:
        costs[item.path] += max([1, *(cost for mark, cost in _COST.items() if item.get_closest_marker(mark))])
    shares: list[tuple[int, set[Path]]] = [(0, set()) for _ in range(count)]
    for file, cost in sorted(costs.items(), key=lambda each: (-each[1], each[0])):
        lightest = min(range(count), key=lambda index: shares[index][0])
        shares[lightest] = (shares[lightest][0] + cost, shares[lightest][1] | {file})
    return [files for _, files in shares]


@pytest.fixture(autouse=True)
def no_real_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unit tests start no programs, unless they are marked ``subprocess``."""
    if CHECKOUT / "tests" / "unit" not in request.path.parents or request.node.get_closest_marker("subprocess"):
        return

    def refuse(child: Any, arguments: Any, *rest: Any) -> None:
        pytest.fail(f"a unit test started a real process: {arguments}; mark it with pytest.mark.subprocess")

    monkeypatch.setattr(subprocess.Popen, "_execute_child", refuse)
    monkeypatch.setattr(os, "system", lambda command: refuse(None, command))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home of the test's own; also what ``Home.default()`` says."""
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PIPELINE_CACHE", raising=False)
    return Home.default()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes folders on a disk of so many bytes, to see what happens when it is full. Needs root."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    with contextlib.ExitStack() as mounts:

        def make(size: int) -> Path:
            folder = Path(tempfile.mkdtemp(dir=tmp_path, prefix="small-disk-"))
            process.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", folder])
            mounts.callback(process.run, ["umount", "--lazy", folder])
            return folder

        yield make


@dataclass(frozen=True)
class OrdinaryUser:
    """Runs programs as somebody without privileges, with a home folder of theirs."""

    folder: Path
    prefix: Sequence[str]

    def run(
        self, *command: str | Path, env: Mapping[str, str] | None = None, check: bool = True, timeout: float = 600
    ) -> process.Finished:
        """As ``process.run``."""
        return process.run(
            [*self.prefix, *command],
            env={"HOME": str(self.folder), "TMPDIR": str(self.folder), **(env or {})},
            check=check,
            timeout=timeout,
            cwd=self.folder,
        )

    def own(self, path: Path) -> Path:
        """Give a file or folder to the user."""
        if self.prefix:
            for each in (path, *path.rglob("*")):
                os.chown(each, _NOBODY, _NOBODY, follow_symlinks=False)
        return path


_NOBODY = 65534


@pytest.fixture
def ordinary_user() -> Iterator[OrdinaryUser]:
    """Somebody without privileges: ``nobody`` when the tests run as root, else whoever runs them."""
    # Not below tmp_path: pytest closes its folders to everybody else.
    folder = Path(tempfile.mkdtemp(prefix="pipeline-user-"))
    try:
        if os.geteuid() != 0:
            yield OrdinaryUser(folder, ())
            return
        if not _open_to_all(CHECKOUT):
            pytest.skip(f"{CHECKOUT} is closed to other users")
        os.chown(folder, _NOBODY, _NOBODY)
        prefix = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--no-new-privs"]
        yield OrdinaryUser(folder, prefix)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _open_to_all(folder: Path) -> bool:
    return all(path.stat().st_mode & 0o001 for path in (folder, *folder.parents))
