from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.imageservice.data.buffers import BLOCK, Buffers
from pipeline.imageservice.errors import Unavailable


def soon() -> float:
    return time.monotonic() + 0.05


def test_a_block_comes_back_when_the_last_holder_is_done() -> None:
    buffers = Buffers(BLOCK)
    block = buffers.take()
    block.hold()
    block.release()
    with pytest.raises(Unavailable):
        buffers.take(soon())
    block.release()
    assert buffers.used == 0
    buffers.take(soon()).release()


def test_the_view_is_what_is_in_use() -> None:
    block = Buffers().take()
    block.memory[:5] = b"hello"
    block.length = 5
    assert bytes(block.view) == b"hello"
    assert len(block.memory) == BLOCK


def test_memory_is_used_again() -> None:
    buffers = Buffers()
    first = buffers.take()
    first.memory[:3] = b"abc"
    first.release()
    assert bytes(buffers.take().memory[:3]) == b"abc"


def test_a_reservation_counts() -> None:
    buffers = Buffers(4 * BLOCK)
    with buffers.reserve(4 * BLOCK):
        assert buffers.used == 4 * BLOCK
        with pytest.raises(Unavailable):
            buffers.take(soon())
    assert buffers.used == 0
    assert buffers.peak == 4 * BLOCK


def test_what_can_never_be_had_is_an_error_at_once() -> None:
    with pytest.raises(ValueError), Buffers(2 * BLOCK).reserve(3 * BLOCK):
        pass
    with pytest.raises(ValueError):
        Buffers(BLOCK - 1)


def test_a_large_claim_is_not_overtaken() -> None:
    buffers = Buffers(4 * BLOCK)
    held = [buffers.take() for _ in range(3)]
    order: list[str] = []

    def large() -> None:
        with buffers.reserve(4 * BLOCK):
            order.append("large")

    def small() -> None:
        block = buffers.take()
        order.append("small")
        block.release()

    one, two = threading.Thread(target=large), threading.Thread(target=small)
    one.start()
    wait_for(lambda: len(buffers._waiting) == 1)
    two.start()
    wait_for(lambda: len(buffers._waiting) == 2)
    for block in held:
        block.release()
    one.join()
    two.join()
    assert order == ["large", "small"]
    assert buffers.used == 0


def test_who_gives_up_does_not_hold_up_the_others() -> None:
    buffers = Buffers(2 * BLOCK)
    held = buffers.take()

    def impatient() -> None:
        with pytest.raises(Unavailable), buffers.reserve(2 * BLOCK, time.monotonic() + 0.2):
            pass

    one = threading.Thread(target=impatient)
    one.start()
    wait_for(lambda: len(buffers._waiting) == 1)
    buffers.take(time.monotonic() + 5).release()
    one.join()
    held.release()
    assert buffers.used == 0


def test_many_threads_stay_within_the_budget() -> None:
    buffers = Buffers(3 * BLOCK)

    def work(_: int) -> None:
        for _ in range(200):
            block = buffers.take()
            block.hold()
            block.release()
            block.release()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    assert buffers.used == 0
    assert buffers.peak <= 3 * BLOCK


def wait_for(condition: object) -> None:
    assert callable(condition)
    until = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)
