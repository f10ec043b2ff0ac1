"""The publication's transaction against a real service: at every moment consumers get one verified, newest image."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.publishing.cloud.ownership_marker import ImageState
from pipeline.publishing.cloud.retry import LockLease
from pipeline.publishing.transaction.transaction import PublishOutcome
from tests.integration.publishing.faulty_proxy import Fault, FaultyProxy
from tests.integration.publishing.world import Faults, Peer, World, settle

pytestmark = pytest.mark.server
_REQUESTS = 36
# No sign of life within a test: so that the requests of a run are always the same.
_QUIET = LockLease(beat=600.0, lasts=3600.0, poll=0.1)


@pytest.fixture
def world(peer: Peer, tmp_path: Path) -> World:
    return World(peer, tmp_path)


def test_each_changed_build_takes_the_place_of_the_one_before(world: World) -> None:
    assert [world.publish(content) for content in ("a", "a", "b", "a")] == [
        PublishOutcome.PUBLISHED,
        PublishOutcome.UNCHANGED,
        PublishOutcome.PUBLISHED,
        PublishOutcome.PUBLISHED,
    ]
    world.watch()
    world.check_rest()
    states = sorted(str(each.state) for each in world.images())
    assert states == ["newest", "superseded", "superseded"]
    assert all(each.is_hidden == (each.state is ImageState.SUPERSEDED) for each in world.images())


def test_changed_properties_are_patched_and_dropped_ones_removed(world: World) -> None:
    world.publish("a", properties={"os_distro": "cirros", "hw_disk_bus": "virtio"})
    assert world.publish("a", properties={"os_distro": "cirros", "os_version": "1"}) is PublishOutcome.CHANGED
    (image,) = world.images()
    assert image.properties["os_version"] == "1"
    assert "hw_disk_bus" not in image.properties


def one_fault(peer: Peer, folder: Path, fault: Fault, position: int) -> bool:
    """Publish with ``fault`` at request number ``position``, then again without; whether the fault was reached."""
    folder.mkdir()
    world = World(peer, folder, lease=_QUIET)
    assert world.publish("before") is PublishOutcome.PUBLISHED, world.errors
    world.check_health()
    faults = Faults({position: fault})
    with FaultyProxy(peer.url, choose=faults, watch=world.watch, deadly=faults.deadly).running() as proxy:
        outcome = world.publish("after", proxy=proxy)
    reached = faults.count >= position
    assert (outcome is None) == (fault.kills and reached)
    world.watch()
    world.check_health()
    settle(world)
    assert world.publish("after") in (PublishOutcome.PUBLISHED, PublishOutcome.UNCHANGED), (proxy.log, world.errors)
    world.watch()
    world.check_health()
    world.check_rest()
    assert world.seen == ["before", "after"] or (world.seen == ["before", "after", "before", "after"])
    return reached


FAULTS: list[Fault] = [fault for fault in Fault if fault is not Fault.NONE]
# To a transaction overload is what 500 is; that the cloud is left alone for a while has tests of its own.
FIRST: list[Fault] = [fault for fault in FAULTS if fault not in (Fault.THROTTLED, Fault.OVERLOADED)]


def faults_at(peer: Peer, folder: Path, fault: Fault, positions: range) -> None:
    # A publication makes some 30 requests, most of them waiting for the service: so many positions at once.
    with ThreadPoolExecutor(8) as pool:
        reached = list(pool.map(lambda number: one_fault(peer, folder / str(number), fault, number), positions))
    assert sum(reached) > len(positions) // 2
    assert not all(reached), "a publication has more requests than that"


@pytest.mark.parametrize("fault", FIRST)
def test_a_fault_leaves_one_newest_image_and_the_next_run_finishes(peer: Peer, tmp_path: Path, fault: Fault) -> None:
    # Every second request here, and the others with the next kind of fault.
    faults_at(peer, tmp_path, fault, range(FIRST.index(fault) % 2, _REQUESTS, 2))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_any_request(peer: Peer, tmp_path: Path, fault: Fault) -> None:
    faults_at(peer, tmp_path, fault, range(_REQUESTS))
