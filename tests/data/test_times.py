from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import InvalidData
from tidemill.core.times import to_micros
from tidemill.data.times import INSTANT, instants

MOMENTS = st.datetimes(min_value=datetime(1600, 1, 1), max_value=datetime(2400, 1, 1))  # noqa: DTZ001 - zones are added below
ZONES = st.one_of(st.none(), st.just(UTC), st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m))))


def micros(column: pl.Series) -> list[int | None]:
    found = instants(column)
    assert found.dtype == INSTANT
    return found.to_physical().to_list()


@given(st.lists(st.tuples(MOMENTS, ZONES, st.sampled_from(["T", " "])), max_size=20))
def test_iso_texts_of_mixed_shapes_are_read_as_python_reads_them(values: list[tuple[datetime, timezone, str]]) -> None:
    texts = [moment.replace(tzinfo=zone).isoformat(sep) for moment, zone, sep in values]
    assert micros(pl.Series("at", texts, pl.String)) == [to_micros(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2024-01-01", "2024-01-01T00:00:00+00:00"),
        ("2024-01-01T10:30", "2024-01-01T10:30:00+00:00"),
        ("2024-01-01T10:30Z", "2024-01-01T10:30:00+00:00"),
        ("2024-01-01 10:30:00.5", "2024-01-01T10:30:00.500000+00:00"),
        ("2024-01-01T10:30:00.1234567Z", "2024-01-01T10:30:00.123456+00:00"),
        ("2024-01-01T10:30:00+0530", "2024-01-01T05:00:00+00:00"),
        ("2024-01-01T10:30:00-05", "2024-01-01T15:30:00+00:00"),
        ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999+00:00"),
        (" 2024-01-01T00:00:00Z ", "2024-01-01T00:00:00+00:00"),
    ],
)
def test_shapes(text: str, same: str) -> None:
    assert micros(pl.Series("at", [text, "2024-06-01"])) == [to_micros(same), to_micros("2024-06-01")]


def test_what_is_no_time_becomes_null() -> None:
    texts = ["soon", "", "2024-02-30", "2024-01-01T25:00", "01/02/2024", "1704067200", None]
    assert micros(pl.Series("at", texts)) == [None] * len(texts)


@given(
    st.lists(st.integers(-(10**18), 10**18), max_size=10),
    st.sampled_from(["ms", "us", "ns"]),
    st.sampled_from([None, "UTC", "Europe/Berlin"]),
)
def test_datetimes_of_any_unit_and_zone_are_rounded_down(values: list[int], unit: str, zone: str | None) -> None:
    limited = [value // 1000 if unit == "ms" else value for value in values]
    column = pl.Series("at", limited, pl.Int64).cast(pl.Datetime(unit, zone))
    per_micro = {"ms": lambda v: v * 1000, "us": lambda v: v, "ns": lambda v: v // 1000}[unit]
    assert micros(column) == [per_micro(value) for value in limited]


def test_dates_are_their_first_moment() -> None:
    assert micros(pl.Series("at", [date(1969, 12, 31), None])) == [-86_400_000_000, None]


@pytest.mark.parametrize("values", [[1704067200], [1.5], [True]])
def test_numbers_are_refused_with_a_way_out(values: list[object]) -> None:
    with pytest.raises(InvalidData, match=r"'at' holds values of type .*from_epoch"):
        instants(pl.Series("at", values))
