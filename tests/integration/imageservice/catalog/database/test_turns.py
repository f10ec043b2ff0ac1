"""Writers to one SQLite database come by turns, whatever process they are in."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection

from pipeline.imageservice.catalog.database.connection import Database
from pipeline.imageservice.catalog.database.turns import WriteTurns
from pipeline.imageservice.errors import Unavailable

HOLD = """
import sys, time
from pathlib import Path
from pipeline.imageservice.catalog.database.turns import WriteTurns
with WriteTurns(Path(sys.argv[1]), 10).held():
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "catalog.db"


def is_locked(path: Path) -> bool:
    if not path.exists():
        return False
    with path.open("rb") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until, "what was waited for did not come"
        time.sleep(0.001)


def test_a_process_that_writes_all_the_time_lets_another_one_in_between(file: Path) -> None:
    busy, other = (Database(f"sqlite:///{file}") for _ in range(2))  # as two processes see it
    written: list[str] = []
    writes, waiting = threading.Event(), threading.Event()

    def begun(_connection: Connection) -> None:
        writes.set()
        waiting.wait(30)
        written.append("busy")

    def write(database: Database, name: str) -> threading.Thread:
        thread = threading.Thread(target=lambda: database.write(lambda _: written.append(name)))
        thread.start()
        return thread

    for _ in range(5):
        written.clear()
        writes.clear()
        waiting.clear()
        first = threading.Thread(target=lambda: busy.write(begun))
        first.start()
        assert writes.wait(30)  # and has left the queue, in which then only the other one can be
        threads = [first, write(other, "other")]
        wait_until(lambda: is_locked(Path(f"{file}-queue")))
        threads += [write(busy, "busy") for _ in range(4)]
        waiting.set()
        for thread in threads:
            thread.join(30)
        assert written[:2] == ["busy", "other"]
        assert len(written) == 6


def test_projects_write_one_after_another_whatever_each_has_in_line(file: Path) -> None:
    database, turns = Database(f"sqlite:///{file}"), WriteTurns(file, 60)
    written: list[str] = []

    def write(project: str) -> None:
        database.write_for(project)
        with turns.held():
            written.append(project)

    threads = []
    with turns.held():
        for number, project in enumerate(("alice", "alice", "alice", "bob", "carol"), 1):
            threads.append(threading.Thread(target=write, args=(project,)))
            threads[-1].start()
            wait_until(lambda number=number: turns.waiting() == number)  # type: ignore[misc]
    for thread in threads:
        thread.join(30)
    assert written == ["alice", "bob", "carol", "alice", "alice"]


@pytest.mark.subprocess
def test_a_turn_ends_with_its_process(file: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(Unavailable, match="busy"), WriteTurns(file, 0.05).held():
            pass
        assert not is_locked(Path(f"{file}-queue"))
        child.send_signal(signal.SIGKILL)
        child.wait()
        with WriteTurns(file, 10).held():
            pass


def test_a_thread_that_waits_too_long_is_told(file: Path) -> None:
    turns = WriteTurns(file, 0.05)
    found: list[type[Exception]] = []

    def late() -> None:
        try:
            with turns.held():
                pass
        except Unavailable as error:
            found.append(type(error))

    with turns.held():
        thread = threading.Thread(target=late)
        thread.start()
        thread.join(30)
    assert found == [Unavailable]
    with turns.held():
        pass


def test_where_nothing_can_be_made_nobody_takes_turns(tmp_path: Path) -> None:
    with WriteTurns(tmp_path / "missing" / "catalog.db", 1).held():
        pass


def test_what_it_opened_is_closed_with_it(file: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with WriteTurns(file, 1).held():
            pass
    assert len(os.listdir("/proc/self/fd")) <= before + 2
