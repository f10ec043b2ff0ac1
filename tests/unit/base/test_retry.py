"""The one retry policy: counts, pauses, what servers ask for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.retry import RetryPolicy, retry_after


class Trouble(Exception):
    """Passes by itself."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__("trouble")
        self.retry_after = seconds


def failing(times: int, error: Exception) -> tuple[list[int], object]:
    calls: list[int] = []

    def work() -> str:
        calls.append(len(calls) + 1)
        if len(calls) <= times:
            raise error
        return "done"

    return calls, work


def test_attempts_are_counted_and_paused_between() -> None:
    slept: list[float] = []
    policy = RetryPolicy(attempts=4, first=1.0, longest=3.0, jitter=0.0, sleep=slept.append)
    assert list(policy.tries()) == [1, 2, 3, 4]
    assert slept == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(("times", "made"), [(0, 1), (2, 3), (9, 3)])
def test_what_passes_is_done_again(times: int, made: int) -> None:
    slept: list[float] = []
    calls, work = failing(times, Trouble())
    policy = RetryPolicy(attempts=3, sleep=slept.append)
    if times < 3:
        assert policy.call(work, lambda error: isinstance(error, Trouble)) == "done"  # type: ignore[arg-type]
    else:
        with pytest.raises(Trouble):
            policy.call(work, lambda error: isinstance(error, Trouble))  # type: ignore[arg-type]
    assert len(calls) == made and len(slept) == made - 1


def test_what_does_not_pass_is_raised_at_once() -> None:
    calls, work = failing(9, KeyError("no"))
    with pytest.raises(KeyError):
        RetryPolicy(sleep=lambda _: None).call(work, lambda error: isinstance(error, Trouble))  # type: ignore[arg-type]
    assert calls == [1]


def test_a_server_is_left_alone_as_long_as_it_asks_within_bounds() -> None:
    slept: list[float] = []
    policy = RetryPolicy(attempts=2, first=0.1, heed=100, sleep=slept.append)
    for seconds in (20.0, 10_000.0):
        _, work = failing(1, Trouble(seconds))
        policy.call(work, lambda error: isinstance(error, Trouble))  # type: ignore[arg-type]
    assert 20 <= slept[0] <= 22 and 100 <= slept[1] <= 110


@given(st.integers(1, 10_000), st.floats(0, 1), st.floats(0, 1e6))
def test_pauses_are_bounded(attempt: int, jitter: float, asked: float) -> None:
    policy = RetryPolicy(jitter=jitter)
    assert 0 <= policy.pause(attempt, asked) <= max(policy.longest * (1 + jitter), policy.heed * 1.1)


def test_pauses_differ() -> None:
    assert len({RetryPolicy().pause(5) for _ in range(20)}) > 1


def test_what_a_server_asks_for() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=100), usegmt=True)
    assert retry_after("120") == 120 and retry_after(" 7 ") == 7
    assert 90 < retry_after(later) <= 100 and retry_after(past) == 0
    for text in (None, "", "-5", "soon", "1e9", "9" * 30, "Tue, 99 Foo 2026 00:00:00 GMT"):
        assert retry_after(text) == 0, text


@given(st.text())
def test_any_text_is_some_number_of_seconds(text: str) -> None:
    assert retry_after(text) >= 0
