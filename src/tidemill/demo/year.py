"""A year of flights as the world tells of it: what is known at the start, and what each hour brings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from tidemill.core.times import to_datetime, to_micros

_NEW_YORK = ZoneInfo("America/New_York")
FIRST_DAY, LAST_DAY = date(2013, 4, 1), date(2013, 12, 31)

_REQUEST = ("flight_id", "scheduled_at", "carrier", "origin", "dest", "distance")


def midnight(day: date) -> int:
    """The start of a day in New York, in microseconds UTC."""
    return to_micros(datetime(day.year, day.month, day.day, tzinfo=_NEW_YORK))


@dataclass(frozen=True)
class Slice:
    """Some hours of the year, and what they bring."""

    start: int
    end: int
    departures: pl.DataFrame
    """Flights scheduled to leave, as a client knows them: the request's columns."""
    outcomes: pl.DataFrame
    """Flights whose outcome became known: they landed, or a day went by without."""
    weather: pl.DataFrame


class Year:
    """The prepared data of a year, cut by time.

    Args:
        folder: Where `tidemill.demo.flights.prepare` wrote.
        every: Keep one flight of so many, spread evenly; 1 keeps all.
    """

    def __init__(self, folder: Path, *, every: int = 1) -> None:
        flights = pl.read_parquet(folder / "flights.parquet").sort("scheduled_at", "flight_id")
        self.flights = flights.gather_every(every).with_columns(known=_known())
        self._outcomes = self.flights.sort("known")
        self.weather = pl.read_csv(folder / "weather.csv", try_parse_dates=True, infer_schema_length=None).sort(
            "observed_at"
        )

    def before(self, end: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Flights with a known outcome, and weather, before a time."""
        at = pl.lit(to_datetime(end))
        return self.flights.filter(pl.col("known") < at).drop("known"), self.weather.filter(pl.col("observed_at") < at)

    def day(self, day: date, *, hours: int) -> Iterator[Slice]:
        """The slices of a day in New York, each of some hours."""
        start, end = midnight(day), midnight(day + timedelta(days=1))
        step = hours * 3_600_000_000
        for begin in range(start, end, step):
            yield self._slice(begin, min(begin + step, end))

    def _slice(self, start: int, end: int) -> Slice:
        departures = _between(self.flights, "scheduled_at", start, end).select(_REQUEST)
        outcomes = _between(self._outcomes, "known", start, end).drop("known")
        return Slice(start, end, departures, outcomes, _between(self.weather, "observed_at", start, end))


def _known() -> pl.Expr:
    # A flight that never landed is certain a day after it should have left.
    return pl.coalesce("landed_at", pl.col("scheduled_at") + pl.duration(days=1))


def _between(frame: pl.DataFrame, column: str, start: int, end: int) -> pl.DataFrame:
    """The rows of a frame sorted by a column whose value is in [start, end)."""
    times = frame[column].to_physical()
    first, last = times.search_sorted(start), times.search_sorted(end)
    return frame.slice(first, last - first)
