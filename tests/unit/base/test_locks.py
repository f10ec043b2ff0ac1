"""Locks that end with their holder and say who that is."""

from __future__ import annotations

import math
import multiprocessing
import multiprocessing.synchronize
import os
import threading
from pathlib import Path

import pytest

from pipeline.base import locks
from pipeline.base.errors import PipelineError
from pipeline.base.progress import NoProgress


def test_a_lock_says_who_holds_it(tmp_path: Path) -> None:
    lock = locks.attempt(tmp_path / "x", "building tiny")
    assert lock is not None
    assert locks.attempt(tmp_path / "x", "other") is None
    assert locks.holder(tmp_path / "x") == f"process {os.getpid()} (building tiny)"
    with (
        pytest.raises(PipelineError, match=r"x is locked by process \d+ \(building tiny\)"),
        locks.held(tmp_path / "x", "y"),
    ):
        pass
    lock.release()
    lock.release()
    with locks.held(tmp_path / "x", "y"):
        assert locks.attempt(tmp_path / "x", "other") is None


def test_a_lock_survives_the_removal_of_its_file(tmp_path: Path) -> None:
    first = locks.attempt(tmp_path / "x", "one")
    assert first is not None
    (tmp_path / "x").unlink()
    second = locks.attempt(tmp_path / "x", "two")
    assert second is not None, "another file, another lock"
    first.release()
    assert locks.attempt(tmp_path / "x", "three") is None
    second.release()


def test_a_forked_process_does_not_keep_a_released_lock(tmp_path: Path) -> None:
    lock = locks.attempt(tmp_path / "x", "one")
    assert lock is not None
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(reader, 1)
        os._exit(0)
    lock.release()
    again = locks.attempt(tmp_path / "x", "two")
    os.write(writer, b"x")
    os.waitpid(child, 0)
    assert again is not None
    again.release()


class Said(NoProgress):
    """What a progress was told, and when it was told first."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.first = threading.Event()

    def say(self, text: str) -> None:
        self.texts.append(text)
        self.first.set()


def _hold(path: Path, ready: multiprocessing.synchronize.Event, end: multiprocessing.synchronize.Event) -> None:
    with locks.held(path, "publishing tiny"):
        ready.set()
        end.wait(20)


def test_a_lock_is_free_when_its_holder_is_killed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready, end = context.Event(), context.Event()
    child = context.Process(target=_hold, args=(tmp_path / "x", ready, end))
    child.start()
    try:
        assert ready.wait(20)
        with (
            pytest.raises(PipelineError, match=rf"process {child.pid} \(publishing tiny\)"),
            locks.held(tmp_path / "x", "y"),
        ):
            pass
    finally:
        child.kill()
        child.join()
    with locks.held(tmp_path / "x", "y"):
        pass


def test_a_holders_end_is_awaited_and_said(tmp_path: Path) -> None:
    first, said = locks.attempt(tmp_path / "x", "fetching x.iso"), Said()
    assert first is not None
    got = threading.Event()

    def wait() -> None:
        with locks.held(tmp_path / "x", "y", wait=math.inf, progress=said):
            got.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert said.first.wait(20) and not got.is_set()
    first.release()
    thread.join(20)
    assert got.is_set()
    assert said.texts == [f"waiting for process {os.getpid()} (fetching x.iso)"]


def test_the_refusal_is_the_callers(tmp_path: Path) -> None:
    class Busy(PipelineError):
        """Of a caller that tells its own kinds apart."""

    with (
        locks.held(tmp_path / "x", "one"),
        pytest.raises(Busy, match=r"busy: process \d+ \(one\)"),
        locks.held(tmp_path / "x", "two", wait=0.01, refusal=lambda who: Busy(f"busy: {who}")),
    ):
        pass
    assert locks.attempt(tmp_path / "x", "three") is not None


def test_an_open_file_is_taken_once(tmp_path: Path) -> None:
    with (tmp_path / "x").open("w") as one, (tmp_path / "x").open() as other:
        assert locks.take(one.fileno())
        assert not locks.take(other.fileno())
        locks.give_back(one.fileno())
        assert locks.take(other.fileno())
