"""Times as the API writes and reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.imageservice.errors import Invalid
from pipeline.imageservice.schema import times

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micro(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


@given(st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)))
def test_what_is_written_can_be_read(moment: datetime) -> None:
    number = micro(moment)
    start, end = times.read(times.written(number), "it")
    assert start <= number < end
    assert end - start == 1_000_000
    assert times.read(times.written_exactly(number), "it") == (number, number + 1)


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1)),
    st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_zones(moment: datetime, zone: timezone) -> None:
    moment = moment.replace(tzinfo=zone, microsecond=0)
    assert times.read(moment.isoformat(), "it")[0] == micro(moment)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2020-02-18", datetime(2020, 2, 18, tzinfo=UTC)),
        ("20200218T044955Z", datetime(2020, 2, 18, 4, 49, 55, tzinfo=UTC)),
        ("2020-02-18 04:49", datetime(2020, 2, 18, 4, 49, tzinfo=UTC)),
        ("2020-02-18T04:49:55+0100", datetime(2020, 2, 18, 3, 49, 55, tzinfo=UTC)),
        ("2020-02-18T04:49:55,5z", datetime(2020, 2, 18, 4, 49, 55, 500_000, tzinfo=UTC)),
    ],
)
def test_other_forms(text: str, moment: datetime) -> None:
    assert times.read(text, "it")[0] == micro(moment)


@given(st.text())
def test_any_text_is_a_time_or_refused(text: str) -> None:
    try:
        times.read(text, "it")
    except Invalid as error:
        assert error.message.startswith("it: ")
