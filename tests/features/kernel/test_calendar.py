"""Calendar windows, where clocks jump: against a search minute by minute, and against what is known of some days."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import get_args
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.core.errors import InvalidData
from tidemill.core.specs.windows import CalendarWindow, Unit, calendar
from tidemill.core.times import to_micros
from tidemill.features.kernel.calendar import calendar_times, period_starts
from tidemill.features.kernel.windows import window_times
from tidemill.testing import oracle

HOUR = 3_600_000_000

# A zone, and a day on which something happened to its clocks.
CHANGES = [
    ("Europe/Berlin", "2024-03-31"),  # an hour is skipped
    ("Europe/Berlin", "2024-10-27"),  # an hour comes twice
    ("Europe/Berlin", "1945-05-24"),  # two hours at once
    ("America/Sao_Paulo", "2017-10-15"),  # midnight is skipped
    ("America/Havana", "2023-11-05"),  # an hour after midnight comes twice
    ("America/St_Johns", "1990-10-28"),  # a minute past midnight it is yesterday again
    ("America/Toronto", "1919-03-31"),  # half past eleven at night the next day begins
    ("Pacific/Apia", "2011-12-30"),  # a day that never was
    ("Pacific/Kwajalein", "1969-10-01"),  # a day that was twice
    ("Asia/Kathmandu", "1986-01-01"),  # a quarter of an hour
    ("Europe/Amsterdam", "1937-07-01"),  # seconds
    ("Europe/Moscow", "1916-07-03"),
    ("UTC", "1970-01-01"),
    ("Australia/Lord_Howe", "2060-04-04"),  # by a rule, half an hour
]


@pytest.mark.parametrize(("tz", "day"), CHANGES)
@settings(max_examples=12)
@given(hours=st.floats(-60, 60), unit=st.sampled_from(get_args(Unit)), last=st.integers(1, 3), complete=st.booleans())
def test_windows_are_those_the_oracle_finds(
    tz: str, day: str, hours: float, unit: Unit, last: int, complete: bool
) -> None:
    t = to_micros(day) + int(hours * HOUR)
    window = calendar(unit, tz, last, complete=complete)
    moments = np.array([t, to_micros(day), t + 1])
    start, end = window_times(window, moments)
    expected = [oracle.calendar_window(m, oracle.Periods(unit, tz, last, complete)) for m in moments.tolist()]
    assert list(zip(start.tolist(), end.tolist(), strict=True)) == expected
    assert (np.diff(start[[0, 2]]) >= 0).all()  # windows never move back
    assert (moments - start <= window.reach).all()


def hours_of(day: str, tz: str) -> float:
    begin = to_micros(datetime.fromisoformat(day).replace(hour=12, tzinfo=ZoneInfo(tz)))
    window = CalendarWindow("day", tz, complete=True)
    start, end = calendar_times(window, np.array([begin + 24 * HOUR]))
    return float((end - start).item() / HOUR)


def test_days_on_which_clocks_change_are_shorter_or_longer() -> None:
    assert hours_of("2024-03-31", "Europe/Berlin") == 23
    assert hours_of("2024-10-27", "Europe/Berlin") == 25
    assert hours_of("2024-04-01", "Europe/Berlin") == 24
    assert hours_of("2017-10-15", "America/Sao_Paulo") == 23
    assert hours_of("1945-05-24", "Europe/Berlin") == 23
    assert hours_of("1986-01-01", "Asia/Kathmandu") == 23.75


def test_the_day_that_never_was_is_no_period() -> None:
    noon = to_micros(datetime(2011, 12, 31, 12, tzinfo=ZoneInfo("Pacific/Apia")))
    start, end = calendar_times(CalendarWindow("day", "Pacific/Apia", complete=True), np.array([noon]))
    assert end.item() == to_micros("2011-12-30T10:00:00")  # midnight of the 31st, by clocks 14 hours ahead
    assert start.item() == end.item() - 24 * HOUR  # the 29th, by clocks 10 hours behind


def test_periods_of_a_place() -> None:
    tz = ZoneInfo("Europe/Berlin")
    t = np.array([to_micros(datetime(1969, 8, 20, 15, 30, tzinfo=tz))])

    def found(unit: Unit, **options: int | bool) -> list[str]:
        bounds = calendar_times(calendar(unit, "Europe/Berlin", **options), t)  # type: ignore[arg-type]
        moments = [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=part.item()) for part in bounds]
        return [f"{moment.astimezone(tz):%Y-%m-%d %H:%M}" for moment in moments]

    assert found("day") == ["1969-08-20 00:00", "1969-08-20 15:30"]
    assert found("week") == ["1969-08-18 00:00", "1969-08-20 15:30"]  # a Monday
    assert found("month", last=2) == ["1969-07-01 00:00", "1969-08-20 15:30"]
    assert found("quarter", complete=True) == ["1969-04-01 00:00", "1969-07-01 00:00"]
    assert found("year", last=3, complete=True) == ["1966-01-01 00:00", "1969-01-01 00:00"]


@pytest.mark.parametrize("tz", ["Europe/Berlin", "America/New_York", "Asia/Tokyo"])
def test_midnights_are_those_polars_knows(tz: str) -> None:
    low, high = to_micros("1971-01-01"), to_micros("2036-12-31")
    starts = period_starts("day", tz, low, high)
    starts = starts[(starts >= low) & (starts < high)]
    days = pl.datetime_range(date(1971, 1, 2), date(2036, 12, 30), "1d", time_unit="us", time_zone=tz, eager=True)
    assert np.isin(days.cast(pl.Int64).to_numpy(), starts).all()
    assert abs(len(starts) - len(days)) <= 2


def test_times_that_calendars_do_not_reach() -> None:
    for t in (2**62, -(2**62), to_micros(datetime(1, 1, 5, tzinfo=UTC))):
        with pytest.raises(InvalidData, match="years 3 to 9997"):
            calendar_times(CalendarWindow("day", "UTC"), np.array([t]))
    nothing = np.zeros(0, np.int64)
    assert [len(part) for part in calendar_times(CalendarWindow("day", "UTC"), nothing)] == [0, 0]
    for year in (3, 9997):
        t = np.array([to_micros(datetime(year, 7, 1, tzinfo=UTC))])
        start, _ = calendar_times(CalendarWindow("year", "Europe/Berlin"), t)
        assert abs(start.item() - to_micros(datetime(year, 1, 1, tzinfo=UTC))) <= HOUR
    start, _ = calendar_times(CalendarWindow("year", "UTC", last=20_000), t)
    assert start.item() == to_micros(datetime(2, 1, 1, tzinfo=UTC))  # from the first period there is
