"""The publication's transaction against a real service: at every moment consumers get one verified, newest image."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.publishing.marks import State
from pipeline.publishing.publication import Outcome
from tests.integration.publishing.faulty_proxy import Fault, FaultyProxy
from tests.integration.publishing.world import Faults, Peer, World, settle

pytestmark = pytest.mark.server
_REQUESTS = 32


@pytest.fixture
def world(peer: Peer, tmp_path: Path) -> World:
    return World(peer, tmp_path)


def test_each_changed_build_takes_the_place_of_the_one_before(world: World) -> None:
    assert [world.publish(content) for content in ("a", "a", "b", "a")] == [
        Outcome.PUBLISHED,
        Outcome.UNCHANGED,
        Outcome.PUBLISHED,
        Outcome.PUBLISHED,
    ]
    world.watch()
    world.check_rest()
    states = sorted(str(each.state) for each in world.images())
    assert states == ["newest", "superseded", "superseded"]
    assert all(each.is_hidden == (each.state is State.SUPERSEDED) for each in world.images())


def test_changed_properties_are_patched_and_dropped_ones_removed(world: World) -> None:
    world.publish("a", properties={"os_distro": "cirros", "hw_disk_bus": "virtio"})
    assert world.publish("a", properties={"os_distro": "cirros", "os_version": "1"}) is Outcome.CHANGED
    (image,) = world.images()
    assert image.properties["os_version"] == "1"
    assert "hw_disk_bus" not in image.properties


def one_fault(peer: Peer, folder: Path, fault: Fault, position: int) -> bool:
    """Publish with ``fault`` at request number ``position``, then again without; whether the fault was reached."""
    folder.mkdir()
    world = World(peer, folder)
    assert world.publish("before") is Outcome.PUBLISHED
    world.check_health()
    faults = Faults({position: fault})
    with FaultyProxy(peer.url, choose=faults, watch=world.watch).running() as proxy:
        outcome = world.publish("after", proxy=proxy)
    reached = faults.count >= position
    assert (outcome is None) == (fault.kills and reached)
    world.watch()
    world.check_health()
    settle(world)
    assert world.publish("after") in (Outcome.PUBLISHED, Outcome.UNCHANGED), proxy.log
    world.watch()
    world.check_health()
    world.check_rest()
    assert world.seen == ["before", "after"] or (world.seen == ["before", "after", "before", "after"])
    return reached


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.NONE])
def test_a_fault_at_any_request_leaves_one_newest_image_and_the_next_run_finishes(
    peer: Peer, tmp_path: Path, fault: Fault
) -> None:
    # A publication makes some 20 requests, most of them waiting for the service: so all positions at once.
    with ThreadPoolExecutor(8) as pool:
        reached = list(
            pool.map(lambda number: one_fault(peer, tmp_path / str(number), fault, number), range(_REQUESTS))
        )
    assert sum(reached) > 12
    assert not all(reached), "a publication has more requests than that"
