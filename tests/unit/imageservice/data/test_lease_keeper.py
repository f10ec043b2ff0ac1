"""Leases that are renewed: how many in one transaction, and what becomes of those that cannot be."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection

from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.catalog.database.connection import Database
from pipeline.imageservice.data import lease_keeper
from pipeline.imageservice.data.lease_keeper import LeaseKeeper
from pipeline.imageservice.errors import Gone
from tests.environments.daemon import wait_until

Result = TypeVar("Result")


class Counting(Database):
    """A database that counts what is renewed in each of its transactions."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"sqlite:///{folder / 'catalog.db'}")
        self.transactions: list[int] = []

    def write(self, work: Callable[[Connection], Result]) -> Result:
        self.transactions.append(0)
        return super().write(work)

    def renew(self, _connection: Connection) -> None:
        self.transactions[-1] += 1


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renew often what lasts for a minute: on a busy machine, none ends by itself."""
    monkeypatch.setattr(lease_keeper, "_LONGEST_PAUSE", 0.05)


def test_hundreds_of_leases_are_renewed_in_short_transactions(tmp_path: Path) -> None:
    database = Counting(tmp_path)
    keeper = LeaseKeeper(database, 60)
    tokens = [CancelToken() for _ in range(200)]
    with contextlib.ExitStack() as stack:
        for token in tokens:
            stack.enter_context(keeper.kept(database.renew, token))
        wait_until(lambda: sum(database.transactions) >= 400, "each was renewed twice")
    assert max(database.transactions) <= 32
    for token in tokens:
        token.check()


def test_one_that_is_lost_stops_its_own_work_only(tmp_path: Path) -> None:
    database = Counting(tmp_path)
    keeper = LeaseKeeper(database, 60)
    stopped = threading.Event()

    def gone(_connection: Connection) -> None:
        stopped.set()
        raise Gone("the image was deleted")

    lost, others = CancelToken(), [CancelToken() for _ in range(3)]
    with contextlib.ExitStack() as stack:
        for token in others:
            stack.enter_context(keeper.kept(database.renew, token))
        stack.enter_context(keeper.kept(gone, lost))
        assert stopped.wait(30)
        wait_until(lambda: sum(database.transactions) >= 6, "the others are renewed again")
    for token in others:
        token.check()
    with pytest.raises(Gone, match="the image was deleted"):
        lost.check()


def test_a_process_that_is_done_leaves_no_thread(tmp_path: Path) -> None:
    keeper = LeaseKeeper(Counting(tmp_path), 400)
    threads = set(threading.enumerate())
    with keeper.kept(lambda connection: None, CancelToken()):
        keeper.close()  # not while something is held
    keeper.close()
    # It sleeps for some seconds between two renewals.
    wait_until(lambda: set(threading.enumerate()) <= threads, "its thread has ended")
