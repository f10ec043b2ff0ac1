"""How fast something moved over the last while."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from pipeline.imageservice.data.slots.rate import RecentRate


def test_nothing_is_known_before_a_while_has_passed() -> None:
    rate = RecentRate(60, 100)
    assert rate.look(159, 0) == inf
    assert rate.look(160, 600) == 10


def test_what_was_long_ago_does_not_count() -> None:
    rate = RecentRate(60, 0)
    for moment in range(0, 300, 5):
        rate.look(moment, 10**9 if moment else 0)
    assert rate.look(300, 10**9) == 0


@given(st.lists(st.tuples(st.floats(0.1, 20), st.integers(0, 10**6)), min_size=1, max_size=200))
def test_it_is_never_below_the_true_rate_of_a_steady_flow(steps: list[tuple[float, int]]) -> None:
    """However often it is looked at: what moves evenly has its own rate."""
    rate, now = RecentRate(60, 0), 0.0
    for pause, _ in steps:
        now += pause
        seen = rate.look(now, int(now * 1000))
        assert seen == inf or abs(seen - 1000) < 1
