"""A lock that goes from project to project: by order of events, not by time."""

from __future__ import annotations

import threading

import pytest

from pipeline.base.fair_lock import FairLock
from tests.environments.daemon import wait_until


def test_it_goes_round_by_project_whatever_each_has_in_line() -> None:
    lock, order = FairLock(), []
    assert lock.acquire("a", 0)

    def have(project: str) -> None:
        assert lock.acquire(project, 60)
        order.append(project)
        lock.release()

    threads = []
    for number, project in enumerate(("a", "a", "a", "b", "b", "c"), start=1):
        threads.append(threading.Thread(target=have, args=(project,)))
        threads[-1].start()
        wait_until(lambda number=number: lock.waiting() == number, "it waits")  # type: ignore[misc]
    lock.release()
    for thread in threads:
        thread.join()
    assert order == ["a", "b", "c", "a", "b", "a"]
    assert lock.acquire("a", 0)


def test_who_waits_in_vain_leaves_no_trace() -> None:
    lock = FairLock()
    assert lock.acquire("a", 0)
    assert not lock.acquire("b", 0)
    assert lock.waiting() == 0
    lock.release()
    assert lock.acquire("b", 0)


def test_who_is_not_admitted_does_not_wait() -> None:
    lock = FairLock()

    def admit(own: int, altogether: int) -> None:
        raise ValueError((own, altogether))

    assert lock.acquire("a", 0, admit=admit)  # nobody waits for what is free
    with pytest.raises(ValueError, match=r"\(0, 0\)"):
        lock.acquire("a", None, admit=admit)
    assert lock.waiting() == 0
