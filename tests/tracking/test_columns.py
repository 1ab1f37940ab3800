from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import InvalidArgument, InvalidData
from tidemill.core.schema import Column
from tidemill.tracking.columns import columns_of, logical_type, model_frame, plain


def test_plain_dtypes() -> None:
    frame = pl.DataFrame(
        {
            "i": pl.Series([1, None], dtype=pl.UInt8),
            "f": pl.Series([1.5, None], dtype=pl.Float32),
            "d": [Decimal("1.25"), None],
            "s": pl.Series(["a", None], dtype=pl.Categorical),
            "day": [date(2024, 1, 1), None],
            "naive": [datetime(2024, 1, 1, 12), None],  # noqa: DTZ001 - naive means UTC
            "b": [True, None],
            "nothing": [None, None],
            "l": [[1, 2], None],
        }
    )
    made = plain(frame)
    time = pl.Datetime("us", "UTC")
    assert made.dtypes == [
        pl.Int64, pl.Float64, pl.Float64, pl.String, time, time, pl.Boolean, pl.Float64, pl.List(pl.Int64),
    ]  # fmt: skip
    assert made.row(0) == (
        1, 1.5, 1.25, "a", datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, 12, tzinfo=UTC), True, None, [1, 2],
    )  # fmt: skip
    assert made.row(1) == (None,) * 9


@pytest.mark.parametrize("zone", ["America/New_York", "UTC"])
def test_times_of_any_zone_stay_the_same_instant(zone: str) -> None:
    at = datetime(2024, 7, 1, 12, tzinfo=UTC)
    frame = pl.DataFrame({"at": [at]}).with_columns(pl.col("at").dt.convert_time_zone(zone).dt.cast_time_unit("ms"))
    assert plain(frame)["at"][0] == at


@pytest.mark.parametrize("dtype", [pl.Struct({"a": pl.Int64}), pl.Duration, pl.Binary, pl.Time, pl.Object])
def test_what_a_dataset_cannot_hold(dtype: pl.DataType) -> None:
    with pytest.raises(InvalidData, match="'odd'"):
        plain(pl.DataFrame({"odd": pl.Series([None], dtype=dtype)}))


def test_columns_list_their_categories() -> None:
    frame = pl.DataFrame({"c": ["b", None, "a", "b"], "n": [1, 2, 3, 4]})
    assert columns_of(frame, ["n", "c"], categories=True) == (
        Column(name="n", type="int64"),
        Column(name="c", type="string", categories=("a", "b")),
    )
    assert columns_of(frame, ["c"], categories=False)[0].categories is None


def test_a_misspelled_column_is_named() -> None:
    with pytest.raises(InvalidArgument, match=r"'carier'.*Known: carrier"):
        columns_of(pl.DataFrame({"carrier": ["AA"]}), ["carier"], categories=True)


def test_the_model_sees_its_inputs_in_its_order() -> None:
    rows = pl.DataFrame({"x": [1], "other": ["?"], "c": ["b"]})
    columns = [Column(name="c", type="string", categories=("a", "b")), Column(name="x", type="float64")]
    seen = model_frame(rows, columns)
    assert seen.columns == ["c", "x"]
    assert seen.dtypes == [pl.Enum(["a", "b"]), pl.Float64]


@given(st.lists(st.one_of(st.none(), st.text(max_size=3))), st.sets(st.text(max_size=3)))
def test_only_known_categories_get_through(values: list[str | None], known: set[str]) -> None:
    column = Column(name="c", type="string", categories=tuple(sorted(known)))
    seen = model_frame(pl.DataFrame({"c": pl.Series(values, dtype=pl.String)}), [column])
    assert seen["c"].cast(pl.String).to_list() == [value if value in known else None for value in values]


def test_a_wrong_type_is_named() -> None:
    rows = pl.DataFrame({"x": ["many"]})
    with pytest.raises(InvalidArgument, match=r"'x' holds String that is not float64"):
        model_frame(rows, [Column(name="x", type="float64")])


def test_every_plain_dtype_has_a_type() -> None:
    assert logical_type(pl.Int8()) == "int64"
    assert logical_type(pl.Struct({"a": pl.Int8})) is None
