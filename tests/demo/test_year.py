from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from tidemill.core.times import to_micros
from tidemill.demo.run import _batches
from tidemill.demo.year import FIRST_DAY, LAST_DAY, Slice, Year, midnight

HOUR = 3_600_000_000
START = datetime(2013, 3, 30, tzinfo=UTC)


def flights(count: int) -> pl.DataFrame:
    """Flights every 17 minutes from 30 March on; one in nine never lands, some land days later."""
    draw = random.Random(5)
    rows = []
    for number in range(count):
        at = START + timedelta(minutes=17 * number)
        late = draw.choice([-20, 0, 30, 400, 3000])
        landed = None if number % 9 == 0 else at + timedelta(minutes=120 + late)
        rows.append({"flight_id": f"f{number:05}", "scheduled_at": at, "landed_at": landed, "arr_delay": late,
                     "carrier": "AA", "origin": "JFK", "dest": "LAX", "distance": 2475})  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"landed_at": pl.Datetime("us", "UTC")})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    flights(2000).sample(fraction=1.0, shuffle=True, seed=1).write_parquet(tmp_path / "flights.parquet")
    hours = [START + timedelta(hours=number) for number in range(24 * 20)]
    weather = pl.DataFrame({"origin": ["JFK"] * len(hours), "observed_at": hours, "temp": [1.0] * len(hours)})
    weather.reverse().write_csv(tmp_path / "weather.csv", datetime_format="%Y-%m-%dT%H:%M:%SZ")
    return tmp_path


def days(first: date, count: int) -> list[date]:
    return [first + timedelta(days=number) for number in range(count)]


def lived(year: Year, count: int, hours: int) -> list[Slice]:
    return [part for day in days(FIRST_DAY, count) for part in year.day(day, hours=hours)]


@pytest.mark.parametrize("hours", [1, 4, 5, 24])
def test_every_flight_is_asked_for_once_and_its_outcome_comes_once(folder: Path, hours: int) -> None:
    year = Year(folder)
    end = midnight(FIRST_DAY + timedelta(days=10))
    known, _ = year.before(midnight(FIRST_DAY))
    parts = lived(year, 10, hours)
    asked = pl.concat(part.departures for part in parts)
    scheduled = pl.col("scheduled_at").cast(pl.Int64).is_between(midnight(FIRST_DAY), end, closed="left")
    assert asked["flight_id"].to_list() == year.flights.filter(scheduled)["flight_id"].to_list()
    outcomes = pl.concat([known, *(part.outcomes for part in parts)])
    expected = year.flights.filter(pl.col("known").cast(pl.Int64) < end)
    assert outcomes["flight_id"].n_unique() == outcomes.height
    assert set(outcomes["flight_id"]) == set(expected["flight_id"])
    weather = pl.concat([year.before(midnight(FIRST_DAY))[1], *(part.weather for part in parts)])
    assert (
        weather["observed_at"].n_unique()
        == weather.height
        == year.weather.filter(pl.col("observed_at").cast(pl.Int64) < end).height
    )


def test_nothing_is_known_before_it_happened(folder: Path) -> None:
    year = Year(folder)
    for part in lived(year, 5, 4):
        assert (part.departures["scheduled_at"].cast(pl.Int64) < part.end).all()
        landed = part.outcomes["landed_at"].drop_nulls().cast(pl.Int64)
        assert landed.is_between(part.start, part.end - 1).all()
        never = part.outcomes.filter(pl.col("landed_at").is_null())["scheduled_at"].cast(pl.Int64)
        assert (never + 24 * HOUR).is_between(part.start, part.end - 1).all()
        assert part.weather["observed_at"].cast(pl.Int64).is_between(part.start, part.end - 1).all()
        assert "arr_delay" not in part.departures.columns, "a client does not know how late the flight will be"


def test_slices_meet_without_gap_or_overlap(folder: Path) -> None:
    parts = lived(Year(folder), 3, 5)
    assert parts[0].start == midnight(FIRST_DAY)
    assert all(before.end == after.start for before, after in pairwise(parts))
    assert parts[-1].end == midnight(FIRST_DAY + timedelta(days=3))


@pytest.mark.parametrize(("day", "hours"), [(date(2013, 3, 10), 23), (date(2013, 11, 3), 25), (date(2013, 7, 1), 24)])
def test_days_with_a_change_of_clocks_have_their_hours(folder: Path, day: date, hours: int) -> None:
    parts = list(Year(folder).day(day, hours=4))
    assert parts[-1].end - parts[0].start == hours * HOUR
    assert parts[-1].end == midnight(day + timedelta(days=1))
    assert max(part.end - part.start for part in parts) == 4 * HOUR


def test_midnight_is_that_of_new_york() -> None:
    assert midnight(FIRST_DAY) == to_micros("2013-04-01T04:00:00Z")
    assert midnight(date(2013, 12, 1)) == to_micros("2013-12-01T05:00:00Z")
    assert (LAST_DAY - FIRST_DAY).days + 1 == 275


def test_a_sample_of_the_flights_is_spread_evenly_and_the_same_each_time(folder: Path) -> None:
    whole, fourth = Year(folder), Year(folder, every=4)
    assert fourth.flights["flight_id"].to_list() == whole.flights["flight_id"].to_list()[::4]
    assert fourth.weather.equals(whole.weather)


def test_requests_hold_8_to_32_rows_in_order_and_are_the_same_each_time(folder: Path) -> None:
    sizes = []
    for part in lived(Year(folder), 10, 24):
        batches = _batches(part)
        assert batches == _batches(part)
        assert [row for batch in batches for row in batch] == part.departures.to_dicts()
        assert all(8 <= len(batch) <= 32 for batch in batches[:-1])
        sizes += [len(batch) for batch in batches]
    assert max(sizes) <= 32
    assert len(set(sizes)) > 5
    assert _batches(Slice(0, HOUR, pl.DataFrame(), pl.DataFrame(), pl.DataFrame())) == []
