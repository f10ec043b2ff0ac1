"""The lock of a recipe on a cloud: one holder at a time, for as long as it lives and hardly longer."""

from __future__ import annotations

import signal
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.publishing.cloud.errors import CloudError, Contended
from pipeline.publishing.cloud.owners import Owners
from pipeline.publishing.transaction import cloud_lock
from pipeline.publishing.transaction.transaction import PublishOutcome
from tests.integration.publishing.conftest import Desk
from tests.integration.publishing.faulty_proxy import Fault, FaultyProxy
from tests.integration.publishing.world import LEASE, Peer, Run, World, hurried

pytestmark = pytest.mark.server


@pytest.fixture
def world(peer: Peer, tmp_path: Path) -> World:
    return World(peer, tmp_path)


class Clock:
    """Time that passes only while somebody waits."""

    now = 0.0

    def read(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def location(world: World, runner: str, **policy: Any) -> cloud_lock.LockScope:
    api = world.peer.api(retry_policy=replace(hurried(), **policy))
    return cloud_lock.LockScope(api, world.chain.publisher, world.recipe, runner, f"run of {runner}")


def test_of_many_at_once_one_holds_it_and_nothing_is_left(world: World) -> None:
    holders: list[str] = []
    most: list[int] = []

    def runner(name: str) -> bool:
        try:
            with cloud_lock.held(location(world, name)):
                holders.append(name)
                most.append(len(holders))
                time.sleep(0.3)
                holders.remove(name)
        except Contended:
            return False
        return True

    with ThreadPoolExecutor(5) as pool:
        held = list(pool.map(runner, "abcde"))
    assert any(held)
    assert set(most) == {1}
    assert location(world, "a").is_free() and location(world, "z").is_free()


def test_a_living_holder_keeps_it_however_long_it_works(world: World) -> None:
    with cloud_lock.held(location(world, "one")) as api:
        time.sleep(LEASE.lasts + 1)
        with pytest.raises(Contended, match="another machine is at work"), cloud_lock.held(location(world, "two")):
            raise AssertionError("two runners hold the lock")
        assert api.delete("no-such-image")  # what goes through the guard still goes


def test_a_holder_that_lost_its_lock_changes_nothing_any_more(world: World) -> None:
    with pytest.raises(Contended, match="this run lost its lock"), cloud_lock.held(location(world, "one")) as api:
        (lock,) = location(world, "two").others()
        world.consumer.delete(lock.id)
        time.sleep(2 * LEASE.beat + 1)
        assert api.show(lock.id) is None
        api.create(world.desired("a").record(str(uuid.uuid4()), 1, "run", "one"))


def test_a_killed_runners_lock_ends_soon(world: World) -> None:
    assert world.publish("before") is PublishOutcome.PUBLISHED, world.errors
    reached = threading.Event()

    def choose(method: str, path: str) -> Fault:
        return Fault.KILLED_AFTER if method == "PUT" else Fault.NONE

    with FaultyProxy(world.peer.url, choose=choose, watch=world.watch, deadly=True).running() as proxy:
        assert world.publish("after", proxy=proxy, runner="one") is None
        reached.set()
    clock = Clock()
    two = location(world, "two", clock=clock.read, sleep=clock.sleep)
    with cloud_lock.held(two):
        assert LEASE.lasts <= clock.now < LEASE.lasts + 2 * LEASE.poll
    assert world.publish("after", runner="two") is PublishOutcome.PUBLISHED
    world.check_rest()
    assert location(world, "three").is_free()


def test_a_lock_that_went_while_its_maker_slept_is_none(world: World) -> None:
    one = location(world, "one")
    mine = one.api.create(one.document())
    world.consumer.delete(mine.id)
    assert not cloud_lock._is_only(one, mine)
    mine = one.api.create(one.document())
    assert cloud_lock._is_only(one, mine)
    theirs = location(world, "two").api.create(location(world, "two").document())
    assert not cloud_lock._is_only(one, mine)
    assert [each.id for each in one.locks()] == [theirs.id]


def overtaken(peer: Peer, folder: Path, position: int) -> None:
    """A runner sleeps, as a virtual machine may, at a request; another takes its lock; then the first wakes up."""
    folder.mkdir()
    world = World(peer, folder)
    assert world.publish("before") is PublishOutcome.PUBLISHED, world.errors
    count = iter(range(10**6))
    asleep = threading.Event()
    runs: list[Run] = []

    def choose(method: str, path: str) -> Fault:
        if next(count) == position:
            runs[0].signal(signal.SIGSTOP)
            asleep.set()
        return Fault.NONE

    with FaultyProxy(peer.url, choose=choose, watch=world.watch, deadly=True).running() as proxy:
        runs.append(Run([world.publication("sleeping", proxy=proxy, runner="one")]))
        while not asleep.wait(0.1) and runs[0].process.is_alive():
            pass
        # A sign of life that was on its way when the first fell asleep may turn the other away once.
        other = world.publish("other", runner="two")
        other = world.publish("other", runner="two") if other is PublishOutcome.FAILED else other
        if asleep.is_set():
            runs[0].signal(signal.SIGCONT)
        (first,) = runs[0].results()
    assert other is PublishOutcome.PUBLISHED, f"{position}: {world.errors}"
    assert first in (PublishOutcome.FAILED, PublishOutcome.PUBLISHED), f"{position}: {first}"
    world.watch()
    world.check_health()
    assert world.seen[-1] == "other", f"{position}: consumers get {world.seen}"
    assert world.publish("last", runner="one") is PublishOutcome.PUBLISHED
    world.check_health()
    world.check_rest()


def test_a_runner_that_sleeps_and_is_overtaken_does_no_harm(peer: Peer, tmp_path: Path) -> None:
    with ThreadPoolExecutor(7) as pool:
        # The first four requests get it the lock: who falls asleep before is not overtaken, only late.
        list(pool.map(lambda number: overtaken(peer, tmp_path / str(number), number), range(4, 39, 5)))


def test_another_machines_lock_keeps_publications_away(desk: Desk) -> None:
    sender = desk.sender
    other = cloud_lock.LockScope(desk.api(), sender.publisher, desk.recipe.name, "they", "their run")
    with cloud_lock.held(other):
        refused = desk.publish(desk.build("a"))
    assert refused.error is not None and "another machine is at work" in refused.error.message
    assert "ends by itself" in (refused.error.hint or "")
    assert desk.images() == []
    assert desk.publish(desk.build("a")).outcome is PublishOutcome.PUBLISHED


def test_who_makes_records_for_another_project_than_its_tokens_is_told(world: World) -> None:
    one = location(world, "one")
    with (
        pytest.raises(CloudError, match="the property of admin, not of another"),
        cloud_lock.held(replace(one, api=one.api.known_as(Owners("another")))),
    ):
        raise AssertionError("nobody knows whose images are ours")
    assert one.locks() == []
