"""Any sequence of publications, withdrawals and rotations, by two runners to two clouds, with faults anywhere.

Around every single request a consumer looks (``World.watch``), and what was healthy once must still be there. A runner
is a process that works on both clouds at once, as a nightly run does, and some faults kill it.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from pipeline.publishing.cloud.ownership_marker import ImageState
from pipeline.publishing.transaction.transaction import PublishOutcome
from pipeline.recipes.model.retention_fields import Retention
from tests.environments.imageservice import ImageService
from tests.integration.publishing.faulty_proxy import Fault, FaultyProxy
from tests.integration.publishing.stranger import Stranger, some_bytes
from tests.integration.publishing.world import Faults, Job, Peer, Run, World, settle, together

pytestmark = pytest.mark.server

_FAULTS = some.dictionaries(
    some.integers(0, 30), some.sampled_from([fault for fault in Fault if fault is not Fault.NONE]), max_size=4
)
_FAULTS_ON_EACH = some.tuples(_FAULTS, _FAULTS)
_CONTENTS = some.sampled_from(["a", "b", "c"])
_RUNNERS = some.sampled_from(["one", "two"])

Way = Callable[[World, FaultyProxy], Job]


class Publishing(RuleBasedStateMachine):
    """One recipe on two clouds: public on one, by its administrator; private on the other, by a mere member."""

    peers: ClassVar[tuple[Peer, Peer]]

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.worlds = []
        for peer, visibility in zip(self.peers, ("public", "private"), strict=True):
            folder = Path(self.folder.name) / visibility
            folder.mkdir()
            self.worlds.append(World(peer, folder, visibility=visibility))

    @rule(content=_CONTENTS, runner=_RUNNERS, faults=_FAULTS_ON_EACH, held=some.booleans())
    def publish(self, content: str, runner: str, faults: tuple[dict[int, Fault], ...], held: bool) -> None:
        def way(world: World, proxy: FaultyProxy) -> Job:
            return world.publication(content, proxy=proxy, runner=runner, held=held)

        with self.jobs(way, faults) as jobs:
            together(jobs)

    @rule(contents=some.permutations(["a", "b", "c"]), moment=some.integers(0, 24), faults=_FAULTS)
    def publish_over_one_another(self, contents: list[str], moment: int, faults: dict[int, Fault]) -> None:
        """The second runner publishes in the middle of the first one's run, as if no lock held it back."""
        world = self.worlds[0]
        count = iter(range(10**6))

        def choose(method: str, path: str) -> Fault:
            if next(count) == moment:
                world.publish(contents[1], runner="two")
            return injected(method, path)

        injected = Faults(faults)
        world.locking = False
        proxied = FaultyProxy(world.peer.url, choose=choose, watch=world.watch, deadly=injected.deadly)
        with proxied.running() as proxy:
            world.publish(contents[0], proxy=proxy, runner="one")
        world.locking = True

    @rule(contents=some.permutations(["a", "b"]), faults=_FAULTS_ON_EACH, others=_FAULTS_ON_EACH)
    def publish_at_once(
        self, contents: list[str], faults: tuple[dict[int, Fault], ...], others: tuple[dict[int, Fault], ...]
    ) -> None:
        """Two machines, the same night."""
        with contextlib.ExitStack() as stack:
            runs = []
            for content, runner, wrong in zip(contents, ("one", "two"), (faults, others), strict=True):

                def way(world: World, proxy: FaultyProxy, content: str = content, runner: str = runner) -> Job:
                    return world.publication(content, proxy=proxy, runner=runner)

                runs.append(Run(stack.enter_context(self.jobs(way, wrong))))
            for run in runs:
                run.results()

    @rule(runner=_RUNNERS, faults=_FAULTS_ON_EACH)
    def withdraw(self, runner: str, faults: tuple[dict[int, Fault], ...]) -> None:
        with self.jobs(lambda world, proxy: world.withdrawal(proxy=proxy, runner=runner), faults) as jobs:
            together(jobs)

    @rule(keep=some.integers(0, 2), runner=_RUNNERS, faults=_FAULTS_ON_EACH)
    def rotate(self, keep: int, runner: str, faults: tuple[dict[int, Fault], ...]) -> None:
        limits = Retention(keep=keep, keep_days=0)
        with self.jobs(lambda world, proxy: world.rotation(limits, proxy=proxy, runner=runner), faults) as jobs:
            together(jobs)

    @invariant()
    def consumers_are_well_served(self) -> None:
        for world in self.worlds:
            world.watch()
            world.check_health()

    def teardown(self) -> None:
        """Whatever happened: once the faults are over, one ordinary run clears and finishes it."""
        if not hasattr(self, "worlds"):
            return
        for world in self.worlds:
            settle(world)
        assert together([world.publication("the last") for world in self.worlds]) == [PublishOutcome.PUBLISHED] * 2
        for world in self.worlds:
            world.watch()
            world.check_health()
            world.check_rest()
            assert world.seen[-1] == "the last"
            assert not [each for each in world.images() if each.state is ImageState.UPLOADING]
            for image in world.images():
                world.consumer.delete(image.id)
        self.folder.cleanup()

    @contextlib.contextmanager
    def jobs(self, way: Way, faults: tuple[dict[int, Fault], ...]) -> Iterator[list[Job]]:
        """One job a cloud, each through a proxy of its own with its faults."""
        with contextlib.ExitStack() as stack:
            found = []
            for world, wrong in zip(self.worlds, faults, strict=True):
                injected = Faults(wrong)
                proxy = FaultyProxy(world.peer.url, choose=injected, watch=world.watch, deadly=injected.deadly)
                found.append(way(world, stack.enter_context(proxy.running())))
            yield found


@pytest.fixture
def peers(peer: Peer, other_service: ImageService) -> tuple[Peer, Peer]:
    return peer, Peer(other_service.url, "alice-token", peer.stores)


def _run(peers: tuple[Peer, Peer], examples: int, steps: int, kind: type[Publishing] = Publishing) -> None:
    class Machine(kind):  # type: ignore[valid-type, misc]
        pass

    Machine.peers = peers
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_every_sequence_leaves_consumers_one_newest_verified_image(peers: tuple[Peer, Peer]) -> None:
    _run(peers, examples=8, steps=6)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_many_long_sequences(peers: tuple[Peer, Peer]) -> None:
    _run(peers, examples=40, steps=12)


class Contested(Publishing):
    """The same beside a stranger on both clouds, who makes and deletes images and locks with our marks and names."""

    services: ClassVar[tuple[ImageService, ImageService]]

    @initialize()
    def move_in(self) -> None:
        self.strangers = [Stranger(service) for service in self.services]

    @rule(
        state=some.sampled_from(ImageState),
        data=some.sampled_from([b"", some_bytes()]),
        copies=some.booleans(),
        visibility=some.sampled_from(["private", "shared", "community"]),
    )
    def forge(self, state: ImageState, data: bytes, copies: bool, visibility: str) -> None:
        """An image with our marks; perhaps a copy of everything that one of ours says."""
        for world, stranger in zip(self.worlds, self.strangers, strict=True):
            ours = world.images() if copies else []
            stranger.forge(world.chain, state, data=data, of=ours[-1] if ours else None, visibility=visibility)

    @rule()
    def squat(self) -> None:
        """A lock that nobody gives back, and the ids that the next images would get."""
        for world, stranger in zip(self.worlds, self.strangers, strict=True):
            stranger.squat(world.chain)
            serial = max((each.serial for each in world.images()), default=0) + 1
            with contextlib.suppress(AssertionError):  # it is ours already
                stranger.use_up(world.chain, range(serial, serial + 3))

    @rule()
    def take_away(self) -> None:
        for stranger in self.strangers:
            stranger.clear()

    @invariant()
    def what_is_not_ours_is_left_alone(self) -> None:
        for world, stranger in zip(getattr(self, "worlds", ()), getattr(self, "strangers", ()), strict=True):
            stranger.check()
            assert not stranger.made.keys() & {each.id for each in world.images()}, "an image of a stranger is counted"

    def teardown(self) -> None:
        super().teardown()
        for stranger in getattr(self, "strangers", ()):
            stranger.check()
            stranger.clear()


def _run_contested(
    peers: tuple[Peer, Peer], services: tuple[ImageService, ImageService], examples: int, steps: int
) -> None:
    class Machine(Contested):
        pass

    Machine.services = services
    _run(peers, examples, steps, Machine)


def test_a_stranger_is_never_shown_changed_or_counted_and_hinders_nothing(
    peers: tuple[Peer, Peer], service: ImageService, other_service: ImageService
) -> None:
    _run_contested(peers, (service, other_service), examples=5, steps=6)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_stranger_in_many_long_sequences(
    peers: tuple[Peer, Peer], service: ImageService, other_service: ImageService
) -> None:
    _run_contested(peers, (service, other_service), examples=40, steps=12)
