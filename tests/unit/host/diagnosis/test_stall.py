"""Stuck or not: no alarm while anything gets anywhere, an alarm when nothing does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.host.diagnosis.stall import Signals, StallPolicy, StallWatch

TIMEOUT = 60.0


def _watch(samples: list[tuple[Signals, str]], every: float = 5.0, timeout: float | None = TIMEOUT) -> StallWatch:
    watch = StallWatch(StallPolicy(timeout))
    for number, (signals, said) in enumerate(samples):
        watch.note(signals, said, now=number * every)
    return watch


def _only(name: str, value: int) -> Signals:
    counters: dict[str, Any] = {name: value}
    return Signals(**counters)


def _end(samples: list[Any], every: float = 5.0) -> float:
    return (len(samples) - 1) * every


@pytest.mark.parametrize(
    ("name", "step"), [("disk", 1 << 20), ("network", 1 << 16), ("processor", 5)], ids=["disk", "network", "processor"]
)
def test_one_signal_that_moves_is_enough_but_heat_is_none(name: str, step: int) -> None:
    samples = [(_only(name, number * step), "") for number in range(60)]
    stalled = _watch(samples).stalled(now=_end(samples))
    assert (stalled is None) == (name != "processor")


def test_new_lines_are_movement() -> None:
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]
    samples = [
        (Signals(serial=number), f"unpacking {words[number % 10]}{words[number // 10]}\n") for number in range(60)
    ]
    assert _watch(samples).stalled(now=_end(samples)) is None


def test_new_pictures_are_movement() -> None:
    samples = [(Signals(screen=f"{number:x}"), "") for number in range(60)]
    assert _watch(samples).stalled(now=_end(samples)) is None


@pytest.mark.parametrize(
    "sample",
    [
        lambda number: (Signals(), ""),
        lambda number: (Signals(screen="on" if number % 2 else "off"), ""),
        lambda number: (Signals(serial=number * 40), f"[{number}.0012] waiting for 192.168.0.{number % 200}\n"),
        lambda number: (Signals(disk=number * 4096, network=number * 600), ""),
    ],
    ids=["silence", "a blinking cursor", "the same line over and over", "a heartbeat"],
)
def test_what_gets_nowhere_is_no_movement(sample: Any) -> None:
    samples = [sample(number) for number in range(40)]
    watch = _watch(samples)
    said = watch.stalled(now=_end(samples))
    assert said is not None
    assert said.startswith("nothing has moved: disk for ")
    assert watch.as_dict()["samples"]


def test_a_guest_that_goes_on_after_a_pause_is_not_stuck() -> None:
    quiet = [(Signals(), "")] * 11
    assert _watch(quiet).stalled(now=_end(quiet)) is None
    awake = [*quiet, (Signals(disk=1 << 20), "")]
    assert _watch(awake).stalled(now=_end(awake) + TIMEOUT - 1) is None
    assert _watch(awake).stalled(now=_end(awake) + TIMEOUT + 1) is not None


def test_closed_connections_are_no_movement_and_hide_none() -> None:
    samples = [(Signals(network=1 << 30), ""), (Signals(network=0), ""), (Signals(network=1 << 20), "")]
    watch = _watch(samples)
    assert watch.stalled(now=10 + TIMEOUT - 1) is None


def test_never_giving_up() -> None:
    samples = [(Signals(), "")] * 1000
    assert _watch(samples, timeout=None).stalled(now=_end(samples)) is None


def test_without_a_sample_nothing_is_known() -> None:
    assert StallWatch(StallPolicy(1.0)).stalled() is None


@given(
    moves=st.lists(st.sampled_from(["disk", "network", "screen", "serial", ""]), min_size=1, max_size=100),
)
def test_no_alarm_before_its_time(moves: list[str]) -> None:
    signals, watch, last = Signals(), StallWatch(StallPolicy(TIMEOUT)), 0.0
    for number, move in enumerate(moves):
        now = number * 5.0
        said = ""
        if move == "disk":
            signals = replace(signals, disk=signals.disk + (1 << 20))
        elif move == "network":
            signals = replace(signals, network=signals.network + (1 << 20))
        elif move == "screen":
            signals = replace(signals, screen=f"picture {number}")
        elif move == "serial":
            said = "".join(chr(ord("g") + int(digit)) for digit in str(number)) + " is done\n"
        watch.note(signals, said, now=now)
        last = now if move or number == 0 else last
        assert (watch.stalled(now=now) is not None) == (now - last >= TIMEOUT)
