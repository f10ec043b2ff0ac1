"""Who gets a slot, and who gives way: for any table of slots."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pipeline.imageservice.data.slots.decide import SlotHolder, SlotWaiter, decide

A, B, C = b"a", b"b", b"c"
PATIENCE = 60.0
NOW = 1000.0
RUNNING = st.builds(
    SlotHolder, key=st.just(0), project=st.sampled_from([A, B, C]), slow=st.booleans(), rate=st.floats(0, 1e6),
    preempted=st.booleans(),
)  # fmt: skip
WAITING = st.builds(SlotWaiter, key=st.just(0), project=st.sampled_from([A, B, C]), since=st.floats(NOW - 200, NOW))


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, list[SlotHolder], list[SlotWaiter]]:
    capacity = draw(st.integers(1, 12))
    running = draw(st.lists(RUNNING, max_size=capacity))
    waiting = draw(st.lists(WAITING, max_size=12))
    running = [SlotHolder(key, one.project, one.slow, one.rate, one.preempted) for key, one in enumerate(running)]
    waiting = [SlotWaiter(100 + key, one.project, one.since) for key, one in enumerate(waiting)]
    return capacity, running, waiting


def running(project: bytes, count: int, first: int = 0, *, slow: bool = False, rate: float = 1e6) -> list[SlotHolder]:
    return [SlotHolder(first + number, project, slow, 0.0 if slow else rate + number) for number in range(count)]


@given(tables())
def test_what_always_holds(table: tuple[int, list[SlotHolder], list[SlotWaiter]]) -> None:
    capacity, held, waiting = table
    decision = decide(capacity, held, waiting, NOW, PATIENCE)
    granted, ends = decision.granted, decision.preempted
    free = capacity - len(held)
    project_of = {one.key: one.project for one in waiting}
    has = Counter(one.project for one in held)
    # Nobody gets what is not there, twice, or without having asked.
    assert len(granted) == len(set(granted)) <= free
    assert set(granted) <= set(project_of)
    # No slot stays free, but for the one that is kept, while somebody waits.
    left = [one for one in waiting if one.key not in granted]
    if left:
        assert free - len(granted) <= (1 if capacity > 1 else 0)
        served = {project_of[key] for key in granted} | set(has)
        if any(one.project not in served for one in left):
            assert free == len(granted)
    # Only who holds a slot and was not told ends, never more than wait for it, counting the one that is kept.
    assert len(ends) == len(set(ends))
    assert set(ends) <= {one.key for one in held if not one.preempted}
    assert len(ends) <= (len(left) + 1 if left else 0)
    # A healthy transfer ends only for a project that has none and was patient, and never is the project's last.
    healthy = [one for one in held if one.key in ends and not one.slow]
    if healthy:
        assert any(NOW - one.since >= PATIENCE for one in left)
        assert all(has[one.project] > 1 for one in healthy)


@given(tables())
def test_a_project_that_has_none_gets_one_after_a_minute(table: tuple[int, list[SlotHolder], list[SlotWaiter]]) -> None:
    capacity, held, waiting = table
    waiting = [one for one in waiting if one.project != C] + [SlotWaiter(500, C, NOW - PATIENCE)]
    held = [one for one in held if one.project != C]
    decision = decide(capacity, held, waiting, NOW, PATIENCE)
    most = max(Counter(one.project for one in held if not one.preempted).values(), default=0)
    coming = any(one.preempted for one in held)
    assert 500 in decision.granted or decision.preempted or coming or most < 2


def test_with_free_slots_anybody_may_have_them_all_but_one() -> None:
    waiting = [SlotWaiter(100 + number, A, NOW) for number in range(10)]
    assert len(decide(8, [], waiting, NOW, PATIENCE).granted) == 7
    assert decide(8, running(A, 7), [SlotWaiter(100, A, NOW)], NOW, PATIENCE).granted == []
    assert decide(8, running(A, 7), [SlotWaiter(100, B, NOW)], NOW, PATIENCE).granted == [100]


def test_nobody_gives_way_while_nobody_waits() -> None:
    assert decide(4, running(A, 4, slow=True), [], NOW, PATIENCE).preempted == []


def test_who_has_fewest_comes_first() -> None:
    held = running(A, 2) + running(B, 1, 10)
    waiting = [SlotWaiter(100, A, NOW - 50), SlotWaiter(101, B, NOW - 40), SlotWaiter(102, C, NOW)]
    assert decide(8, held, waiting, NOW, PATIENCE).granted == [102, 101, 100]
    assert decide(5, held, waiting, NOW, PATIENCE).granted == [102]


def test_the_project_with_the_most_gives_way_by_what_is_slow() -> None:
    held = running(A, 5) + running(A, 2, 10, slow=True) + running(B, 2, 20, slow=True)
    decision = decide(9, held, [SlotWaiter(100, C, NOW)], NOW, PATIENCE)
    assert (decision.granted, decision.preempted) == ([], [10])


def test_a_healthy_transfer_gives_way_only_to_who_has_none_and_was_patient() -> None:
    held = running(A, 5) + running(B, 1, 10)
    assert decide(6, held, [SlotWaiter(100, C, NOW - 59)], NOW, PATIENCE).preempted == []
    assert decide(6, held, [SlotWaiter(100, C, NOW - 60)], NOW, PATIENCE).preempted == [0], "its slowest"
    assert decide(6, held, [SlotWaiter(100, B, NOW - 900)], NOW, PATIENCE).preempted == []


def test_slots_that_are_coming_are_not_asked_for_twice() -> None:
    held = [*running(A, 5, slow=True), SlotHolder(9, A, slow=True, rate=0, preempted=True)]
    assert decide(6, held, [SlotWaiter(100, B, NOW)], NOW, PATIENCE).preempted == []
    both = [SlotWaiter(100, B, NOW), SlotWaiter(101, C, NOW)]
    assert len(decide(6, held, both, NOW, PATIENCE).preempted) == 1


def test_a_project_gives_way_to_itself_rather_than_to_its_equal() -> None:
    held = running(A, 3, slow=True) + running(B, 3, 10, slow=True)
    for project, own in ((A, {0, 1, 2}), (B, {10, 11, 12})):
        assert set(decide(6, held, [SlotWaiter(100, project, NOW)], NOW, PATIENCE).preempted) <= own
