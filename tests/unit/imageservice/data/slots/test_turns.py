"""Threads that take turns: the order is seen, no time is measured."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pipeline.imageservice.data.slots.errors import NoSlot
from pipeline.imageservice.data.slots.slots import SlotKind, SlotRules, Slots
from pipeline.imageservice.data.slots.turns import Turns
from tests.environments.daemon import wait_until


class Order:
    """Who had a turn, in order."""

    def __init__(self, turns: Turns) -> None:
        self.turns, self.seen = turns, list[str]()
        self.threads: list[threading.Thread] = []

    def wait(self, project: str) -> None:
        """Let a thread of a project wait for its turn."""
        before = self.turns.waiting()
        thread = threading.Thread(target=self._run, args=(project,), daemon=True)
        self.threads.append(thread)
        thread.start()
        wait_until(lambda: self.turns.waiting() == before + 1, f"{project} waits")

    def _run(self, project: str) -> None:
        with self.turns.held(project):
            self.seen.append(project)

    def end(self) -> list[str]:
        """Return who had a turn, once all had."""
        for thread in self.threads:
            thread.join(30)
        return self.seen


def test_projects_come_one_after_another_whatever_each_has_in_line() -> None:
    order = Order(Turns(8, 60))
    with order.turns.held("alice"):
        for project in ("alice", "alice", "alice", "bob", "carol", "bob"):
            order.wait(project)
        assert order.seen == []
    assert order.end() == ["alice", "bob", "carol", "alice", "bob", "alice"]
    assert order.turns.waiting() == 0


def test_more_than_may_wait_are_refused_and_another_project_is_not() -> None:
    order = Order(Turns(2, 60))
    with order.turns.held("alice"):
        for project in ("alice", "alice"):
            order.wait(project)
        with pytest.raises(NoSlot, match="this project"), order.turns.held("alice"):
            pass
        for project in ("bob", "carol"):
            order.wait(project)
        with pytest.raises(NoSlot, match="too many wait"), order.turns.held("dave"):
            pass
    assert order.end() == ["alice", "bob", "carol", "alice"]


def test_who_waited_too_long_is_told_and_nobody_waits_for_it() -> None:
    turns = Turns(4, 0.01)
    with turns.held("alice"):
        refused = []

        def late() -> None:
            with pytest.raises(NoSlot, match=r"within 0\.01 seconds") as found, turns.held("bob"):
                pass
            refused.append(found.value.retry_after)

        thread = threading.Thread(target=late)
        thread.start()
        thread.join(30)
        assert refused == [30]
        assert turns.waiting() == 0
    with turns.held("carol"):
        pass


def test_who_waits_for_something_else_gives_the_turn_up_meanwhile(tmp_path: Path) -> None:
    slots = Slots(tmp_path, SlotRules({SlotKind.BODY: 4, SlotKind.CHECK: 4}))
    order = Order(slots.turns)
    with slots.turns.held("alice"):
        order.wait("bob")
        with slots.held(SlotKind.CHECK, "alice"):
            assert order.end() == ["bob"]
            with slots.turns.held("carol"):  # nobody has it
                pass
        order.wait("dave")
    assert order.end() == ["bob", "dave"]
    with slots.held(SlotKind.CHECK, "alice"), slots.turns.held("alice"):  # who had none has none afterwards
        pass


def test_a_turn_ends_with_an_error() -> None:
    turns = Turns(1, 60)
    with pytest.raises(ZeroDivisionError), turns.held("alice"):
        _ = 1 / 0
    with turns.held("bob"):
        pass
