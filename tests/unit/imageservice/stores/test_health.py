from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.imageservice.errors import Unavailable
from pipeline.imageservice.stores import health
from pipeline.imageservice.stores.budget import Share, Unlimited
from pipeline.imageservice.stores.errors import StoreError, StoreSilent, StoreUnavailable, WriteRefused
from pipeline.imageservice.stores.file.options import FileOptions
from pipeline.imageservice.stores.file.store import FileStore
from pipeline.imageservice.stores.health import StoreHealth
from tests.environments.daemon import wait_until


class Obedient(FileStore):
    """A store that fails or hangs when it is told to."""

    def __init__(self, folder: Path, identifier: str) -> None:
        super().__init__(FileOptions.model_validate({"id": identifier, "directories": [folder / identifier]}))
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.fails = False
        self.error: type[StoreError] = StoreSilent
        self.looks = 0

    def check(self) -> None:
        self.looks += 1
        self.goes_on.wait()
        if self.fails:
            raise self.error(f"store {self.id} has a fault", detail="on purpose")


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Obedient]:
    store = Obedient(tmp_path, "one")
    yield store
    store.goes_on.set()


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in [("_FRESH", 0.2), ("_FRESH_WHEN_DOWN", 0.05), ("_HUNG", 0.3), ("_TIMEOUT", 0.4)]:
        monkeypatch.setattr(health, name, seconds)


def test_a_store_that_answers_has_no_fault(one: Obedient) -> None:
    watched = StoreHealth([one])
    assert watched.faults() == {"one": None}
    watched.require(one)


def test_a_result_holds_for_a_while(one: Obedient) -> None:
    watched = StoreHealth([one])
    for _ in range(20):
        watched.faults()
    assert one.looks == 1


def test_a_fault_is_told_and_goes_by_itself(one: Obedient) -> None:
    watched = StoreHealth([one])
    one.fails = True
    assert watched.faults() == {"one": "store one has a fault"}
    with pytest.raises(StoreUnavailable):
        watched.require(one)
    one.fails = False
    wait_until(lambda: not watched.is_down(one), "the store is up again", seconds=5)


def test_a_store_that_hangs_holds_nobody_up(one: Obedient, tmp_path: Path) -> None:
    two = Obedient(tmp_path, "two")
    watched = StoreHealth([one, two])
    one.goes_on.clear()
    # Who waited for it would wait for ever: it goes on below.
    assert watched.faults() == {"one": "store one does not answer", "two": None}
    for _ in range(100):
        assert watched.is_down(one) and not watched.is_down(two)
    assert one.looks == 1
    one.goes_on.set()
    wait_until(lambda: not watched.is_down(one), "the store is up again", seconds=5)


def test_who_only_wants_to_use_a_store_does_not_wait_for_a_first_look(one: Obedient) -> None:
    one.goes_on.clear()
    StoreHealth([one]).require(one)


@pytest.mark.parametrize("error", [WriteRefused, StoreUnavailable])
def test_a_store_that_refuses_something_is_still_asked(one: Obedient, error: type[StoreError]) -> None:
    """Reads may work when writes do not, and objects may be readable where looking at a bucket is forbidden."""
    watched = StoreHealth([one])
    one.fails, one.error = True, error
    assert watched.faults() == {"one": "store one has a fault"}
    watched.require(one)


def test_a_start_does_not_wait_for_a_store_that_hangs(one: Obedient, tmp_path: Path) -> None:
    two, three = Obedient(tmp_path, "two"), Obedient(tmp_path, "three")
    one.goes_on.clear()
    two.fails = True
    found = health.first_look([one, two, three], timeout=0.5)
    assert found == {"one": "store one does not answer", "two": "store two has a fault: on purpose"}


def test_a_doubt_makes_it_look_again(one: Obedient) -> None:
    watched = StoreHealth([one])
    assert watched.faults() == {"one": None}
    one.fails = True
    watched.doubt(one)
    wait_until(lambda: watched.is_down(one), "it has looked", seconds=0.15, pause=0.01)


def test_a_store_cannot_have_the_whole_budget() -> None:
    share = Share(Unlimited(), 10)
    with share.reserve(6), share.reserve(4), pytest.raises(Unavailable), share.reserve(1, time.monotonic()):
        pass
    with share.reserve(10):
        pass


def test_a_claim_larger_than_the_share_waits_until_it_is_alone() -> None:
    share = Share(Unlimited(), 10)
    with share.reserve(20), pytest.raises(Unavailable), share.reserve(1, time.monotonic()):
        pass
    with share.reserve(1), pytest.raises(Unavailable), share.reserve(20, time.monotonic()):
        pass


def test_a_claim_gets_what_another_gives_back() -> None:
    share = Share(Unlimited(), 10)
    got = threading.Event()

    def claim() -> None:
        with share.reserve(8, time.monotonic() + 5):
            got.set()

    with share.reserve(8):
        threading.Thread(target=claim).start()
        assert not got.wait(0.05)
    assert got.wait(5)
