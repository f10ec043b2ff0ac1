"""Waiting for several things in one thread."""

from __future__ import annotations

import signal
from collections.abc import Generator
from types import FrameType

import pytest

from pipeline.host import turns


def _work(name: str, looks: int, told: list[str]) -> Generator[None, None, str]:
    try:
        for number in range(looks):
            told.append(f"{name}{number}")
            yield
        if name == "bad":
            raise ValueError(name)
        return name.upper()
    finally:
        told.append(f"{name} closed")


def test_in_turn_until_all_have_returned() -> None:
    told: list[str] = []
    made = turns.together({"a": _work("a", 1, told), "b": _work("b", 3, told)})
    assert made == {"a": "A", "b": "B"}
    assert told == ["a0", "b0", "a closed", "b1", "b2", "b closed"]


def test_when_one_fails_the_others_are_closed_at_once() -> None:
    told: list[str] = []
    with pytest.raises(ValueError, match="bad"):
        turns.together({"a": _work("a", 100, told), "bad": _work("bad", 1, told)})
    assert told == ["a0", "bad0", "a1", "bad closed", "a closed"]


def test_an_interruption_closes_all() -> None:
    told: list[str] = []

    def interrupted() -> Generator[None, None, str]:
        yield
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        turns.together({"a": _work("a", 100, told), "i": interrupted()})
    assert told[-1] == "a closed"


def test_what_a_signal_raises_meanwhile_is_raised_in_all_that_wait() -> None:
    told: list[str] = []

    def passed(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    def waiting(name: str) -> Generator[None, None, None]:
        try:
            while True:
                yield
        except TimeoutError:
            told.append(f"evidence of {name}")
            raise

    before = signal.signal(signal.SIGALRM, passed)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(TimeoutError):
            turns.together({"a": waiting("a"), "b": waiting("b")})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert told == ["evidence of a", "evidence of b"]


def test_nothing_to_wait_for() -> None:
    assert turns.together({}) == {}
    assert turns.alone(_work("a", 0, [])) == "A"
