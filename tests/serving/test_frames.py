from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import InvalidData
from tidemill.core.schema import Column
from tidemill.serving.frames import RequestSchema, build

COLUMNS = (
    Column(name="ride", type="int64"),
    Column(name="x", type="float64"),
    Column(name="rain", type="boolean"),
    Column(name="station", type="string"),
    Column(name="at", type="time"),
)
SCHEMA = RequestSchema(COLUMNS, frozenset({"ride", "at"}))
ROW = {"ride": 1, "x": 1.5, "rain": True, "station": "north", "at": "2013-04-01T00:00:00Z"}


def test_types_are_those_of_the_schema_whatever_the_values() -> None:
    frame = SCHEMA.from_rows([ROW, {"ride": None, "x": 2, "rain": None, "station": None, "at": 1_364_774_400_000_000}])
    assert frame.schema == {
        "ride": pl.Int64, "x": pl.Float64, "rain": pl.Boolean, "station": pl.String, "at": pl.Datetime("us", "UTC"),
    }  # fmt: skip
    assert frame["x"].to_list() == [1.5, 2.0]
    assert frame["at"].n_unique() == 1
    assert SCHEMA.from_rows([]).schema == frame.schema


def test_unknown_fields_are_left_out_and_ids_and_times_may_be() -> None:
    frame = SCHEMA.from_rows([{"x": 1.0, "rain": False, "station": "n", "more": 1}])
    assert frame.columns == [column.name for column in COLUMNS]
    assert frame["ride"].to_list() == [None]
    assert frame["at"].to_list() == [None]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x": "two"}, "row 1, column 'x' is 'two'. Expected a number or null."),
        ({"x": True}, "row 1, column 'x' is True. Expected a number or null."),
        ({"ride": 1.0}, "row 1, column 'ride' is 1.0. Expected an integer or null."),
        ({"ride": True}, "row 1, column 'ride' is True. Expected an integer or null."),
        ({"ride": 2**63}, "column 'ride' holds a value that is too large"),
        ({"x": 10**400}, "column 'x' holds a value that is too large"),
        ({"station": 7}, "row 1, column 'station' is 7. Expected a text or null."),
        ({"rain": 1}, "row 1, column 'rain' is 1. Expected true or false or null."),
        ({"at": "tomorrow"}, "row 1, column 'at': 'tomorrow' is not a time"),
        ({"at": 1.5}, "row 1, column 'at' is 1.5"),
        ({"station": ["x"] * 100}, "…. Expected a text"),
    ],
)
def test_a_wrong_value_is_named_with_its_row_and_column(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidData) as caught:
        SCHEMA.from_rows([ROW, {**ROW, **change}])
    assert said in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_misspelled_column_is_named_with_the_right_one() -> None:
    row = {**ROW, "staton": "north"}
    del row["station"]
    with pytest.raises(InvalidData) as caught:
        SCHEMA.from_rows([ROW, row])
    assert str(caught.value) == (
        "row 1 has no column 'station'. Known: ride, x, rain, station, at. Is 'staton' meant as 'station'?"
    )
    with pytest.raises(InvalidData, match="the request has no column 'x'"):
        SCHEMA.from_columns({"rain": [True], "station": ["n"]}, 1)


def test_null_where_it_is_not_allowed() -> None:
    with pytest.raises(InvalidData, match=r"row 1, column 'x' is null. Expected a number."):
        build(Column(name="x", type="float64", nullable=False), [1.0, None])


def test_lists() -> None:
    assert build(Column(name="v", type="list"), [[1.0, 2.0], None]).to_list() == [[1.0, 2.0], None]
    with pytest.raises(InvalidData, match="'v' holds a value"):
        build(Column(name="v", type="list"), [[1.0], ["a"]])


VALUES = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text())
FITS: dict[str, tuple[type, ...]] = {
    "int64": (int,), "float64": (int, float), "boolean": (bool,), "string": (str,),
}  # fmt: skip


@given(st.sampled_from(sorted(FITS)), st.lists(VALUES, max_size=6))
def test_values_come_out_as_they_went_in_or_not_at_all(kind: str, values: list[Any]) -> None:
    fit = all(v is None or (isinstance(v, FITS[kind]) and (kind == "boolean") == isinstance(v, bool)) for v in values)
    if fit:
        assert build(Column(name="c", type=kind), values).to_list() == values
    else:
        with pytest.raises(InvalidData):
            build(Column(name="c", type=kind), values)
