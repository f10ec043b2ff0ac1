"""Decide who gets a free slot, and whose transfers give way to those who wait: a rule without a clock or state.

With free slots anybody may have them all, but for one that is kept for projects that have none. When somebody waits,
the project with the most slots gives way: first by its transfers below the least rate; where a project that has none
has waited for as long as a rate is taken over, by the slowest one, whatever its rate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SlotHolder:
    """What holds a slot. ``rate``: bytes a second, infinite where it cannot be told yet; ``preempted``: has to end."""

    key: int
    project: bytes
    slow: bool
    rate: float
    preempted: bool = False


@dataclass(frozen=True)
class SlotWaiter:
    """What waits for a slot, since a moment of the clock that ``decide`` is given."""

    key: int
    project: bytes
    since: float


@dataclass(frozen=True)
class SlotDecision:
    """The keys of those who wait that get a slot now, and of those who hold one that have to end."""

    granted: list[int] = field(default_factory=list)
    preempted: list[int] = field(default_factory=list)


def decide(
    capacity: int, running: Sequence[SlotHolder], waiting: Iterable[SlotWaiter], now: float, max_wait: float
) -> SlotDecision:
    """Return who begins and who ends. ``max_wait``: seconds after which a healthy transfer gives way to a project that
    has none.
    """
    counts = Counter(one.project for one in running)
    free = capacity - len(running)
    decision = SlotDecision()
    left = list(waiting)
    while left:
        first = min(left, key=lambda one: (counts[one.project], one.since, one.key))
        if free < _needed(capacity, counts[first.project]):
            break
        decision.granted.append(first.key)
        left.remove(first)
        counts[first.project] += 1
        free -= 1
    if left:
        _preempt(decision, capacity, running, left, free, now, max_wait)
    return decision


def _needed(capacity: int, has: int) -> int:
    """How many slots must be free for a project that ``has`` some: the last one is kept for those that have none."""
    return 2 if has and capacity > 1 else 1


def _preempt(
    decision: SlotDecision,
    capacity: int,
    running: Sequence[SlotHolder],
    left: list[SlotWaiter],
    free: int,
    now: float,
    max_wait: float,
) -> None:
    stays = [one for one in running if not one.preempted]
    free += len(running) - len(stays)
    counts = Counter(one.project for one in stays)
    while left:
        waiter = min(left, key=lambda one: (counts[one.project], one.since, one.key))
        left.remove(waiter)
        has = counts[waiter.project]
        while free < _needed(capacity, has):
            victim = _victim(stays, counts, waiter, may_wait=now - waiter.since < max_wait)
            if victim is None:
                break
            decision.preempted.append(victim.key)
            stays.remove(victim)
            counts[victim.project] -= 1
            free += 1
        if free >= _needed(capacity, has):
            free -= 1
            counts[waiter.project] += 1


def _victim(
    stays: Sequence[SlotHolder], counts: Counter[bytes], waiter: SlotWaiter, *, may_wait: bool
) -> SlotHolder | None:
    """Whose turn it is to end for ``waiter``; ``None`` when nobody's is."""
    has = counts[waiter.project]
    # Of another project only if that has no less than the waiter's afterwards: else the two would take turns in ending.
    fair = has + 2 if has else 1
    slow = [one for one in stays if one.slow and (counts[one.project] >= fair or one.project == waiter.project)]
    if slow:
        return min(slow, key=lambda one: (-counts[one.project], one.rate, one.key))
    if has or may_wait:
        return None
    many = [one for one in stays if counts[one.project] > 1]
    return min(many, key=lambda one: (-counts[one.project], one.rate, one.key), default=None)
