"""Any sequence of publications, withdrawals and rotations, by two runners, with faults anywhere.

Around every single request a consumer looks (``World.watch``), and what was healthy once must still be there.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pipeline.publishing.marks import State
from pipeline.publishing.publication import Outcome, Terms
from pipeline.recipes.upkeep import Retention
from tests.integration.publishing.faulty_proxy import Fault, FaultyProxy
from tests.integration.publishing.world import Faults, Peer, World, settle

pytestmark = pytest.mark.server

_FAULTS = some.dictionaries(
    some.integers(0, 24), some.sampled_from([fault for fault in Fault if fault is not Fault.NONE]), max_size=4
)
_CONTENTS = some.sampled_from(["a", "b", "c"])
_RUNNERS = some.sampled_from(["one", "two"])


class Publishing(RuleBasedStateMachine):
    """One recipe on one cloud."""

    peer: ClassVar[Peer]

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(self.peer, Path(self.folder.name))

    @rule(content=_CONTENTS, runner=_RUNNERS, faults=_FAULTS, held=some.booleans())
    def publish(self, content: str, runner: str, faults: dict[int, Fault], held: bool) -> None:
        terms = Terms(gates=lambda newest: ("a gate",) if held else ())
        with self.faulty(faults) as proxy:
            self.world.publish(content, proxy=proxy, runner=runner, terms=terms)

    @rule(contents=some.permutations(["a", "b", "c"]), moment=some.integers(0, 24), faults=_FAULTS)
    def publish_over_one_another(self, contents: list[str], moment: int, faults: dict[int, Fault]) -> None:
        """The second runner publishes in the middle of the first one's run."""
        count = iter(range(10**6))

        def choose(method: str, path: str) -> Fault:
            if next(count) == moment:
                self.world.publish(contents[1], runner="two")
            return injected(method, path)

        injected = Faults(faults)
        with FaultyProxy(self.peer.url, choose=choose, watch=self.world.watch).running() as proxy:
            self.world.publish(contents[0], proxy=proxy, runner="one")

    @precondition(lambda self: self.world.began)
    @rule(runner=_RUNNERS, faults=_FAULTS)
    def withdraw(self, runner: str, faults: dict[int, Fault]) -> None:
        with self.faulty(faults) as proxy:
            self.world.withdraw(proxy=proxy, runner=runner)

    @precondition(lambda self: self.world.began)
    @rule(keep=some.integers(0, 2), runner=_RUNNERS, faults=_FAULTS)
    def rotate(self, keep: int, runner: str, faults: dict[int, Fault]) -> None:
        with self.faulty(faults) as proxy:
            self.world.rotate(Retention(keep=keep, keep_days=0), proxy=proxy, runner=runner)

    @invariant()
    def consumers_are_well_served(self) -> None:
        self.world.watch()
        self.world.check_health()

    def teardown(self) -> None:
        """Whatever happened: once the faults are over, both runners' leavings are cleared by ordinary runs."""
        if not hasattr(self, "world"):
            return
        settle(self.world)
        for runner in ("two", "one"):
            self.clear(runner)
        assert self.world.publish("the last") is Outcome.PUBLISHED
        self.world.watch()
        self.world.check_health()
        self.world.check_rest()
        assert self.world.seen[-1] == "the last"
        for image in self.world.images():
            self.peer.api().delete(image.id)
        self.folder.cleanup()

    def clear(self, runner: str) -> None:
        """What an unfinished upload of one machine leaves is that machine's to clear."""
        if any(each.state is State.UPLOADING for each in self.world.images()):
            self.world.publish(f"cleared by {runner}", runner=runner)

    def faulty(self, faults: dict[int, Fault]) -> contextlib.AbstractContextManager[FaultyProxy]:
        return FaultyProxy(self.peer.url, choose=Faults(faults), watch=self.world.watch).running()


def _run(peer: Peer, examples: int, steps: int) -> None:
    class Machine(Publishing):
        pass

    Machine.peer = peer
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_every_sequence_leaves_consumers_one_newest_verified_image(peer: Peer) -> None:
    _run(peer, examples=8, steps=6)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_many_long_sequences(peer: Peer) -> None:
    _run(peer, examples=150, steps=15)
