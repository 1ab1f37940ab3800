from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from tests.features.tables import UTC, Tables

from tidemill.core.errors import InvalidArgument, NotFound, UserCodeError
from tidemill.core.specs import aggregates as agg
from tidemill.core.specs.checks import check
from tidemill.core.specs.features import FeatureView
from tidemill.core.specs.sources import Source
from tidemill.features.rows import check_row_wise, view_rows
from tidemill.features.transforms import reads, trace

source = Source("weather", time="at", id="nr", created="told")
SYSTEM = ["event_ts", "created_ts", "ingest_seq"]


@pytest.fixture
def table() -> pl.DataFrame:
    rows = {
        "nr": ["1", "2", "3", "4"], "place": ["a", "b", "a", None], "at": [1, 2, 3, 4], "told": [5, None, 7, 8],
        "temp": [1.0, 2.0, None, 4.0], "text": ["x y", "z", "", None],
    }  # fmt: skip
    tables = Tables()
    tables.add(source, pl.DataFrame(rows).with_columns(pl.col("at", "told").cast(UTC)), created="told")
    return tables.scan(source).collect()


def view(transform: Callable[[Any], Any] | None, **options: Any) -> FeatureView:
    return FeatureView(transform, **{"source": source, "keys": "place", "name": "v", **options})


def derived(table: pl.DataFrame, transform: Callable[[Any], Any] | None, **options: Any) -> pl.DataFrame:
    return view_rows(view(transform, **options), table.schema).derive(table.lazy())[0]


def test_keys_and_times_are_carried_along(table: pl.DataFrame) -> None:
    found = derived(table, lambda rows: rows.select(double=pl.col("temp") * 2))
    assert set(found.columns) == {*SYSTEM, "place", "double"}
    assert found["double"].to_list() == [2.0, 4.0, None, 8.0]
    assert found["place"].to_list() == ["a", "b", "a", None]
    assert found["event_ts"].cast(pl.Int64).to_list() == [1, 2, 3, 4]


def test_a_state_view_exposes_its_columns_without_keys_times_and_id(table: pl.DataFrame) -> None:
    assert view_rows(view(None), table.schema).inputs == ("temp", "text")
    assert view_rows(view(lambda rows: rows.with_columns(one=1)), table.schema).inputs == ("temp", "text", "one")
    with pytest.raises(InvalidArgument, match="has no feature"):
        view_rows(view(lambda rows: rows.select("place")), table.schema)


def test_only_what_is_needed_is_read(table: pl.DataFrame) -> None:
    rows = view_rows(view(lambda r: r.with_columns(hot=pl.col("temp") > 3).select("hot", "text")), table.schema)
    assert set(rows.reads) == {"place", "temp", "text", *SYSTEM}
    counted = view(lambda r: r.with_columns(hot=pl.col("temp") > 3), aggregates=[agg.count("hot")])
    assert set(view_rows(counted, table.schema).reads) == {"nr", "place", "temp", *SYSTEM}
    # A transform may name columns that nothing it returns is made of.
    assert derived(table, lambda r: r.drop("text").select("temp"))["temp"].to_list() == [1.0, 2.0, None, 4.0]


def test_a_key_may_be_made_by_the_transform(table: pl.DataFrame) -> None:
    found = derived(table, lambda r: r.select("temp", pl.col("place").str.to_uppercase()))
    assert found["place"].to_list() == ["A", "B", "A", None]
    assert derived(table, lambda r: r.select("temp", k=pl.col("nr") + "!"), keys="k")["k"].to_list()[0] == "1!"
    with pytest.raises(NotFound, match=r"key of feature view 'v'.*'plaze'.*Did you mean 'place'"):
        view_rows(view(None, keys="plaze"), table.schema)


@pytest.mark.parametrize("transform", [
    lambda r: r.filter(pl.col("temp") > 1).select("temp"),
    lambda r: r.sort("temp").select("temp"),
    lambda r: r.head(2).select("temp"),
    lambda r: r.select(pl.col("text").str.split(" ")).explode("text"),
    lambda r: r.collect().lazy().select("temp"),
    lambda r: r.collect().select("temp"),
    lambda r: r.unique().select("temp"),
    lambda r: r.map_batches(lambda frame: frame.reverse()).select("temp"),
], ids=range(8))  # fmt: skip
def test_more_than_select_and_with_columns_must_keep_keys_and_times(
    table: pl.DataFrame, transform: Callable[[Any], Any]
) -> None:
    with pytest.raises(InvalidArgument, match=r"does more than select.*output lacks place.*Select place"):
        view_rows(view(transform), table.schema)


def test_what_keeps_keys_and_times_is_paired_by_row(table: pl.DataFrame) -> None:
    found = derived(table, lambda r: r.filter(pl.col("temp") > 1))
    assert found["temp"].to_list() == [2.0, 4.0]
    assert found["event_ts"].cast(pl.Int64).to_list() == [2, 4]
    table = table.with_columns(temp=pl.Series([3.0, 2.0, 1.0, 0.0]))
    assert derived(table, lambda r: r.sort("temp"))["event_ts"].cast(pl.Int64).to_list() == [4, 3, 2, 1]


@pytest.mark.parametrize("transform", [
    lambda r: r.select(when=pl.when(pl.col("temp") > 1).then(pl.lit("a] SORT BY [")).otherwise(pl.lit('"\nFILTER'))),
    lambda r: r.select(among=pl.col("text").is_in(["x]", "y\nSLICE["])),
    lambda r: r.select(among=pl.col("temp").is_in(pl.Series([1.0, 2.0] * 40))),
    lambda r: r.select(mapped=pl.col("temp").map_elements(lambda value: divmod(value, 3)[1], return_dtype=pl.Float64)),
    lambda r: r.with_columns(a=1).rename({"a": "b"}).drop("text").cast({"temp": pl.Float32}).fill_null(0),
    lambda r: r.select(pl.col("^te.*$"), s=pl.struct("temp", "text"), hour=pl.col("at").dt.hour()),
], ids=range(6))  # fmt: skip
def test_plain_expressions_are_row_wise(table: pl.DataFrame, transform: Callable[[Any], Any]) -> None:
    assert trace(transform, table.schema, "it").row_wise
    check_row_wise(view_rows(view(transform), table.schema), table)


@pytest.mark.parametrize("expression", [
    pl.col("temp").shift(1), pl.col("temp").mean().over("place"), pl.col("temp") - pl.col("temp").mean(),
    pl.col("temp").cum_sum(), pl.col("temp").sort(), pl.int_range(pl.len()), pl.col("temp").reverse(),
    pl.col("temp").forward_fill(), pl.col("text").rank(),
])  # fmt: skip
def test_a_row_must_not_depend_on_its_neighbours(table: pl.DataFrame, expression: pl.Expr) -> None:
    rows = view_rows(view(lambda r: r.with_columns(x=expression)), table.schema)
    with pytest.raises(InvalidArgument, match="gives other values when it sees rows"):
        check_row_wise(rows, table)


def test_one_value_for_all_rows_is_no_row_wise_transform(table: pl.DataFrame) -> None:
    with pytest.raises(InvalidArgument, match="made 1 rows of 4"):
        derived(table, lambda r: r.select(pl.col("temp").sum()))


def test_rows_that_fail_a_check_are_left_out_and_counted(table: pl.DataFrame) -> None:
    checks = [check("temp").between(0, 3), check("temp").not_null(), check("text").matches("^x"),
              check("place").one_of("a", "b"), check("told").not_after("at")]  # fmt: skip
    rows = view_rows(view(lambda r: r.select("text"), checks=checks[:2]), table.schema)
    found, failed = rows.derive(table.lazy())
    assert found["event_ts"].cast(pl.Int64).to_list() == [1, 2]
    assert failed == {"temp.between(0, 3)": 1, "temp.not_null()": 1}
    _, failed = view_rows(view(None, checks=checks), table.schema).derive(table.lazy())
    assert list(failed.values()) == [1, 1, 2, 0, 3]
    assert derived(table.with_columns(temp=float("nan")), None, checks=[check("temp").between(0, 3)]).height == 0
    with pytest.raises(InvalidArgument, match=r"unique\(\) is not a check of single rows"):
        view_rows(view(None, checks=[check("temp").unique()]), table.schema)
    with pytest.raises(NotFound, match="column to check"):
        view_rows(view(None, checks=[check("tmp").not_null()]), table.schema)


def test_errors_of_a_transform_name_it(table: pl.DataFrame) -> None:
    with pytest.raises(UserCodeError, match=r"feature view 'v' raised ColumnNotFoundError.*tmep.*Known: nr, place"):
        view_rows(view(lambda r: r.select("tmep")), table.schema)
    with pytest.raises(UserCodeError, match="raised ZeroDivisionError"):
        view_rows(view(lambda r: r.select(x=1 / 0)), table.schema)
    with pytest.raises(InvalidArgument, match="returned NoneType"):
        view_rows(view(lambda r: None), table.schema)
    with pytest.raises(NotFound, match="column to aggregate"):
        view_rows(view(None, aggregates=[agg.mean("tmep")]), table.schema)
    strict = view_rows(view(lambda r: r.select(pl.col("text").cast(pl.Int64))), table.schema)
    with pytest.raises(UserCodeError, match="raised InvalidOperationError"):
        strict.derive(table.lazy())


def test_what_an_output_column_is_made_of() -> None:
    schema = pl.Schema({"a": pl.Int64, "b": pl.Int64, "c": pl.Int64})
    transform = lambda r: r.with_columns(d=pl.col("a") + 1, e=pl.col("b"))  # noqa: E731
    assert reads(transform, schema, ["d"], "it") == ["a"]
    assert reads(transform, schema, ["c", "e"], "it") == ["b", "c"]
    assert reads(lambda r: r.collect().lazy(), schema, ["a"], "it") == ["a", "b", "c"]
