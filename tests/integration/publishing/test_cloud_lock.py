"""The lock of a recipe on a cloud: one holder at a time, for as long as it lives and hardly longer."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.publishing import cloud_lock
from pipeline.publishing.cloud_errors import Contended
from pipeline.publishing.publication import Outcome
from tests.integration.publishing.conftest import Desk
from tests.integration.publishing.faulty_proxy import Fault, FaultyProxy
from tests.integration.publishing.world import LEASE, Peer, Run, World

pytestmark = pytest.mark.server


@pytest.fixture
def world(peer: Peer, tmp_path: Path) -> World:
    return World(peer, tmp_path)


def place(world: World, runner: str) -> cloud_lock.Place:
    return cloud_lock.Place(world.peer.api(), world.chain.publisher, world.recipe, runner, f"run of {runner}")


def test_of_many_at_once_one_holds_it_and_nothing_is_left(world: World) -> None:
    holders: list[str] = []
    most: list[int] = []

    def runner(name: str) -> bool:
        try:
            with cloud_lock.held(place(world, name)):
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
    assert place(world, "a").is_free() and place(world, "z").is_free()


def test_a_living_holder_keeps_it_however_long_it_works(world: World) -> None:
    with cloud_lock.held(place(world, "one")) as api:
        time.sleep(LEASE.lasts + 1)
        began = time.monotonic()
        with pytest.raises(Contended, match="another machine is at work"), cloud_lock.held(place(world, "two")):
            raise AssertionError("two runners hold the lock")
        assert time.monotonic() - began < LEASE.lasts
        assert api.delete("no-such-image")  # what goes through the guard still goes


def test_a_holder_that_lost_its_lock_changes_nothing_any_more(world: World) -> None:
    with pytest.raises(Contended, match="this run lost its lock"), cloud_lock.held(place(world, "one")) as api:
        (lock,) = place(world, "two").others()
        world.consumer.delete(lock.id)
        time.sleep(2 * LEASE.beat + 1)
        assert api.show(lock.id) is None
        api.create(world.wanted("a").record(1, "run", "one"))


def test_a_killed_runners_lock_ends_soon(world: World) -> None:
    assert world.publish("before") is Outcome.PUBLISHED, world.errors
    reached = threading.Event()

    def choose(method: str, path: str) -> Fault:
        return Fault.KILLED_AFTER if method == "PUT" else Fault.NONE

    with FaultyProxy(world.peer.url, choose=choose, watch=world.watch, deadly=True).running() as proxy:
        assert world.publish("after", proxy=proxy, runner="one") is None
        reached.set()
    began = time.monotonic()
    assert world.publish("after", runner="two") is Outcome.PUBLISHED
    assert time.monotonic() - began >= LEASE.lasts - 1
    world.check_rest()
    assert place(world, "three").is_free()


def test_a_lock_that_went_while_its_maker_slept_is_none(world: World) -> None:
    one = place(world, "one")
    mine = one.api.create(one.document())
    world.consumer.delete(mine.id)
    assert not cloud_lock._is_only(one, mine)
    mine = one.api.create(one.document())
    assert cloud_lock._is_only(one, mine)
    theirs = place(world, "two").api.create(place(world, "two").document())
    assert not cloud_lock._is_only(one, mine)
    assert [each.id for each in one.locks()] == [theirs.id]


def overtaken(peer: Peer, folder: Path, position: int) -> None:
    """A runner sleeps, as a virtual machine may, at a request; another takes its lock; then the first wakes up."""
    folder.mkdir()
    world = World(peer, folder)
    assert world.publish("before") is Outcome.PUBLISHED, world.errors
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
        other = world.publish("other", runner="two") if other is Outcome.FAILED else other
        if asleep.is_set():
            runs[0].signal(signal.SIGCONT)
        (first,) = runs[0].results()
    assert other is Outcome.PUBLISHED, f"{position}: {world.errors}"
    assert first in (Outcome.FAILED, Outcome.PUBLISHED), f"{position}: {first}"
    world.watch()
    world.check_health()
    assert world.seen[-1] == "other", f"{position}: consumers get {world.seen}"
    assert world.publish("last", runner="one") is Outcome.PUBLISHED
    world.check_health()
    world.check_rest()


def test_a_runner_that_sleeps_and_is_overtaken_does_no_harm(peer: Peer, tmp_path: Path) -> None:
    with ThreadPoolExecutor(7) as pool:
        # The first four requests get it the lock: who falls asleep before is not overtaken, only late.
        list(pool.map(lambda number: overtaken(peer, tmp_path / str(number), number), range(4, 39, 5)))


def test_another_machines_lock_keeps_publications_away(desk: Desk) -> None:
    sender = desk.sender
    other = cloud_lock.Place(desk.api(), sender.publisher, desk.recipe.name, "they", "their run")
    with cloud_lock.held(other):
        refused = desk.publish(desk.build("a"))
    assert refused.error is not None and "another machine is at work" in refused.error.message
    assert "ends by itself" in (refused.error.hint or "")
    assert desk.images() == []
    assert desk.publish(desk.build("a")).outcome is Outcome.PUBLISHED
