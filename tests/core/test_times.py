from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import InvalidArgument
from tidemill.core.times import format_duration, format_time, parse_duration, to_datetime, to_micros

HOUR = 3_600_000_000


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1h", HOUR),
        ("1d12h", 36 * HOUR),
        ("90m", HOUR * 3 // 2),
        ("250ms", 250_000),
        ("7us", 7),
        ("2w", 14 * 24 * HOUR),
    ],
)
def test_durations_are_absolute(text: str, micros: int) -> None:
    assert parse_duration(text) == micros


@pytest.mark.parametrize("text", ["", "h", "1", "1x", "1h junk", "-1h", "1.5h", True, None])
def test_what_is_no_duration_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(InvalidArgument, match="not a duration"):
        parse_duration(text)  # type: ignore[arg-type]


def test_negative_duration() -> None:
    with pytest.raises(InvalidArgument, match="negative"):
        parse_duration(timedelta(seconds=-1))


@given(st.integers(min_value=0, max_value=10**15))
def test_format_duration_is_exact(micros: int) -> None:
    assert parse_duration(format_duration(micros)) == micros


@given(st.integers(min_value=-(10**16), max_value=10**17))
def test_times_round_trip_also_before_1970(micros: int) -> None:
    assert to_micros(format_time(micros)) == micros
    assert to_micros(to_datetime(micros)) == micros


def test_naive_means_utc_and_offsets_are_honoured() -> None:
    assert to_micros("1970-01-01T01:00:00") == HOUR
    assert to_micros("1970-01-01T01:00:00+01:00") == 0
    assert to_micros(datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=-5)))) == 5 * HOUR


@pytest.mark.parametrize("value", ["soon", "2013-13-01", True])
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(InvalidArgument, match="not a time"):
        to_micros(value)  # type: ignore[arg-type]
