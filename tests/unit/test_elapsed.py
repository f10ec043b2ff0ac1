"""Show what ``tests/elapsed.py`` finds, and what it lets stand."""

from textwrap import dedent

import pytest

from pipeline.base.home import CHECKOUT
from tests import elapsed


def test_no_test_asserts_how_long_something_took() -> None:
    """Assert the cause (an event, a count), and measure in ``benchmarks``."""
    files = sorted((CHECKOUT / "tests").rglob("*.py"))
    found = [f"{file.relative_to(CHECKOUT)}:{line}" for file in files for line in elapsed.assertions(file.read_text())]
    assert found == []


def _lines(text: str) -> list[str]:
    """What the lines say that are found."""
    source = dedent(text)
    return [source.splitlines()[line - 1].strip() for line in elapsed.assertions(source)]


_SEEN = [
    "import time\nassert time.monotonic() - begun < 3  # here",
    "import time\nassert 1 < time.perf_counter() - begun < 3, 'late'  # here",
    # A name for what it took.
    """
        import time
        def test():
            start = time.monotonic()
            work()
            took = time.monotonic() - start
            assert took < 3  # here
        """,
    # A clock by its bare name, or by another.
    """
        from time import perf_counter
        def test():
            start = perf_counter()
            assert round(perf_counter() - start, 1) < 3  # here
        """,
    """
        import time as clock
        from time import monotonic_ns as now
        def test():
            begun, other = now(), clock.perf_counter()
            assert now() - begun < 3e9 and work()  # here
            assert 3 > abs(other - clock.perf_counter())  # here
        """,
    # Readings that are kept: in a list, an attribute, a mapping, by an inner function.
    """
        import time
        def test():
            readings = []
            def answer():
                readings.append(time.monotonic())
            serve(answer)
            assert readings[1] - readings[0] >= 0.5  # here
            gaps = [later - sooner for sooner, later in zip(readings, readings[1:])]
            assert all(gap < 2 for gap in gaps)  # here
            assert max(gaps) < 2  # here
            for gap in gaps:
                assert gap < 2  # here
        """,
    """
        import time
        class Server:
            def __init__(self):
                self.asked = []
            def answer(self):
                self.asked.append(time.monotonic())
        def test(server):
            first, second = server.asked
            assert second - first > 1  # here
            assert server.asked[1] - server.asked[0] == pytest.approx(1, abs=0.2)  # here
        """,
    """
        import time
        def test():
            at = {}
            at["begun"] = time.monotonic()
            at["ended"] = time.monotonic()
            assert at["ended"] - at["begun"] < 3  # here
        """,
    # What was waited for, held against a reading.
    """
        import time
        def test(event):
            start = time.monotonic()
            done = event.wait(5)
            assert done and time.monotonic() < start + 3  # here
            deadline = time.monotonic() + 3
            event.wait(10)
            assert time.monotonic() < deadline  # here
        """,
    """
        import time
        def waited(event, timeout):
            start = time.monotonic()
            event.wait(timeout)
            return time.monotonic() - start
        def test(event):
            assert waited(event, 5) < 3  # here
            took = waited(event, 5)
            assert not took > 3  # here
        """,
    # Sums, calendars, other words for an assertion.
    """
        import time
        def test():
            total = 0.0
            for _ in range(3):
                start = time.monotonic()
                work()
                total += time.monotonic() - start
            assert total / 3 < 1  # here
            if total > 9:  # here
                pytest.fail("late")
            if (took := time.monotonic() - start) > 9:  # here
                raise AssertionError(took)
        """,
    """
        from datetime import UTC, datetime, timedelta
        def test():
            begun = datetime.now(UTC)
            took = datetime.now(UTC) - begun
            assert took.total_seconds() < 3  # here
            assert took < timedelta(seconds=3)  # here
        """,
    """
        import math, time, timeit
        async def test():
            begun = time.thread_time()
            assert math.isclose(time.thread_time() - begun, 1, abs_tol=0.1)  # here
            assert timeit.timeit("work()", number=3) < 1  # here
        """,
]


@pytest.mark.parametrize("text", _SEEN)
def test_an_assertion_on_how_long_something_took_is_seen(text: str) -> None:
    assert _lines(text) == [line.strip() for line in text.splitlines() if line.endswith("# here")]
    assert _lines(text)


_STANDING = [
    # A loop that waits for an event gives up at some time.
    """
        import time
        def until(true, seconds):
            deadline = time.monotonic() + seconds
            while not true():
                assert time.monotonic() < deadline, "it never became true"
                if time.monotonic() > deadline:
                    pytest.fail("it never became true")
                time.sleep(0.1)
        def test():
            until(lambda: True, 3)
            assert until(lambda: True, 3) is None
        """,
    # Events with a bound, and what is left until it.
    """
        import time
        def test(event, child):
            deadline = time.monotonic() + 3
            assert event.wait(3)
            assert event.wait(timeout=deadline - time.monotonic())
            assert child.wait(3) == 0
            left = deadline - time.monotonic()
            assert event.wait(left), "it never came"
        """,
    # The order of events, their number, and that there are any.
    """
        import time
        def test():
            begun = time.monotonic()
            readings = [time.monotonic()]
            readings.append(time.monotonic())
            assert len(readings) == 2
            assert begun <= readings[0] <= readings[1]
            assert readings == sorted(readings)
            took = readings[1] - readings[0]
            assert took is not None
            print(f"{took:.1f} s")
        """,
    # Clocks of the test's own, and times that others wrote down.
    """
        import os, time
        from datetime import UTC, datetime, timedelta
        DAY = 86400
        def test(file, found, clock):
            past = time.time() - 2 * DAY
            os.utime(file, (past, past))
            assert file.stat().st_mtime == past
            assert abs(datetime.now(UTC) - found.modified) < timedelta(minutes=5)
            begun = clock.now
            work(clock)
            assert clock.now - begun == 30
        """,
    # The same names in another function.
    """
        import time
        def one():
            took = time.monotonic() - time.monotonic()
            return took
        def test(answer):
            took = answer["seconds"]
            assert took < 3
        """,
    "assert work(1) - 1 < 3",
]


@pytest.mark.parametrize("text", _STANDING)
def test_bounds_orders_and_counts_are_no_durations(text: str) -> None:
    assert _lines(text) == []
