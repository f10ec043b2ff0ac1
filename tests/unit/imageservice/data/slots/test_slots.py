"""Slots that several threads and processes share: counted, not timed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.base.home import CHECKOUT
from pipeline.imageservice.cancellation.active_transfers import Stopping
from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.data.slots.errors import NoSlot, Preempted
from pipeline.imageservice.data.slots.slots import Slot, SlotKind, SlotRules, Slots, SlotUse
from tests.environments.daemon import wait_until

UP = SlotKind.UPLOAD


class Clock:
    """A clock that goes when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def make(folder: Path, capacity: int = 4, clock: Clock | None = None, **more: float) -> Slots:
    return Slots(folder, SlotRules({UP: capacity, SlotKind.DELETE: 2}, **more), clock=clock or Clock())


class Held:
    """A slot held in a thread, for as long as it is wanted."""

    def __init__(self, slots: Slots, project: str) -> None:
        self.token, self.error, self.slot = CancelToken(), None, None
        self.has, self._leave = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(slots, project), daemon=True)
        self._thread.start()

    error: Exception | None
    slot: Slot | None

    def _run(self, slots: Slots, project: str) -> None:
        try:
            with slots.held(UP, project, self.token) as self.slot:
                self.has.set()
                self._leave.wait()
        except Exception as error:
            self.error = error

    def leave(self) -> None:
        self._leave.set()
        self._thread.join(30)


@contextlib.contextmanager
def held(slots: Slots, project: str, count: int) -> Iterator[list[Held]]:
    those = [Held(slots, project) for _ in range(count)]
    try:
        assert all(one.has.wait(30) for one in those)
        yield those
    finally:
        for one in those:
            one.leave()


def waits(slots: Slots, count: int) -> None:
    wait_until(lambda: slots.use()[UP].waiting == count, f"{count} wait")


def test_a_second_project_does_not_wait_for_a_slot_of_the_first(tmp_path: Path) -> None:
    slots = make(tmp_path)
    with held(slots, "a", 3):
        more = Held(slots, "a")
        waits(slots, 1)
        with slots.held(UP, "b"):  # at once, although another one came before
            assert slots.use()[UP] == SlotUse(4, 1)
        assert not more.has.is_set()
        more.token.stop(Stopping())
        more.leave()
        assert isinstance(more.error, Stopping)
    assert slots.use()[UP] == SlotUse(0, 0)


def test_kinds_have_slots_of_their_own(tmp_path: Path) -> None:
    slots = make(tmp_path)
    with held(slots, "a", 3), slots.held(SlotKind.DELETE, "a"):
        assert slots.use() == {UP: SlotUse(3, 0), SlotKind.DELETE: SlotUse(1, 0)}


def test_what_is_slow_gives_way_and_is_told(tmp_path: Path) -> None:
    clock = Clock()
    slots = make(tmp_path, clock=clock, rate=10, seconds=60)
    with held(slots, "a", 3) as (slow, fast, arrived), held(slots, "b", 1):
        cut: list[str] = []
        for one in (slow, fast, arrived):
            assert one.slot is not None
            one.slot.advance(100, None)
        assert slow.slot and fast.slot and arrived.slot
        slow.slot.cut = lambda: cut.append("slow")
        fast.slot.cut = lambda: cut.append("fast")
        arrived.slot.arrived()
        slots.tick()
        clock.now += 60
        fast.slot.advance(10_000, None)
        slots.tick()
        for one in (slow, fast, arrived):
            one.token.check()  # nobody waits, so all of them go on
        waiter = Held(slots, "c")
        wait_until(lambda: bool(cut), "somebody gave way")
        with pytest.raises(Preempted, match="less than"):
            slow.token.check()
        fast.token.check()
        arrived.token.check()
        assert not waiter.has.is_set()
        slow.leave()
        assert waiter.has.wait(30)
        assert cut == ["slow"]
        waiter.leave()


def test_a_healthy_one_gives_way_after_a_while_to_a_project_that_has_none(tmp_path: Path) -> None:
    clock = Clock()
    slots = make(tmp_path, clock=clock, rate=10, seconds=60)
    with held(slots, "a", 3) as many, held(slots, "b", 1) as (only,):
        waiter = Held(slots, "c")
        waits(slots, 1)
        slots.tick()
        for one in many:
            one.token.check()
        for number, one in enumerate((*many, only)):
            assert one.slot is not None
            one.slot.advance((number + 1) * 10_000, None)
        clock.now += 60
        with pytest.raises(Preempted):
            while True:
                many[0].token.wait(0.1)
        for one in (*many[1:], only):
            one.token.check()
        many[0].leave()
        assert waiter.has.wait(30)
        waiter.leave()


def test_who_waits_too_long_or_with_too_many_is_refused(tmp_path: Path) -> None:
    clock = Clock()
    slots = make(tmp_path, clock=clock, wait=150)
    with held(slots, "a", 3):
        waiters = [Held(slots, "a") for _ in range(2)]
        waits(slots, 2)
        with pytest.raises(NoSlot, match="too many of this project") as refused, slots.held(UP, "a"):
            pass
        assert refused.value.retry_after > 0
        clock.now += 151
        for one in waiters:
            one.leave()
            assert isinstance(one.error, NoSlot)
            assert "within 150 seconds" in one.error.message


HOLDS = """
import sys, time
from pathlib import Path
from tests.unit.imageservice.data.slots.test_slots import make, Clock, UP
slots = make(Path(sys.argv[1]))
with slots.held(UP, "a"), slots.held(UP, "a"), slots.held(UP, "a"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.subprocess
def test_the_slots_of_a_killed_process_come_back(tmp_path: Path) -> None:
    slots = make(tmp_path)
    words = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(words, cwd=CHECKOUT, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"held\n"
            assert slots.use()[UP] == SlotUse(3, 0)
            waiter = Held(slots, "a")
            waits(slots, 1)
            assert not waiter.has.is_set()
        finally:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
        assert waiter.has.wait(30)
        assert slots.use()[UP] == SlotUse(1, 0)
        waiter.leave()


def test_a_forked_process_has_a_lock_of_its_own(tmp_path: Path) -> None:
    """The parent's lock would be held by both, or by neither."""
    slots = make(tmp_path, capacity=40)
    assert slots.use()[UP] == SlotUse(0, 0)
    children = []
    for _ in range(2):
        pid = os.fork()
        if not pid:
            status = 1
            try:
                for _ in range(100):
                    with slots.held(UP, "b"), slots.held(UP, "b"):
                        pass
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0]
    assert slots.use()[UP] == SlotUse(0, 0)


def test_a_process_that_is_done_leaves_neither_thread_nor_file_open(tmp_path: Path) -> None:
    slots = make(tmp_path)
    threads = set(threading.enumerate())
    with slots.held(UP, "a"):
        slots.close()  # not while one is held
        assert slots.use()[UP].used == 1
    slots.close()
    wait_until(lambda: set(threading.enumerate()) <= threads, "its thread has ended")
    assert not [name for name in opened() if str(tmp_path) in name]
    with slots.held(UP, "a"):
        assert slots.use()[UP].used == 1


def opened() -> list[str]:
    """What this process has open."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(entry))
    return found
