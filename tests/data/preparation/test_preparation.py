"""The parts against scikit-learn and by their edges, the whole row by row."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

import tidemill as tm
from tidemill.core.errors import FormatTooNew, InvalidArgument, InvalidData, NotFound
from tidemill.core.schema import Column
from tidemill.data.preparation.preparation import Preparation, decode_preparation, fit_preparation
from tidemill.tracking.columns import columns_of

NAN, INF = float("nan"), float("inf")


def described(rows: pl.DataFrame) -> tuple[Column, ...]:
    return columns_of(rows, rows.columns, categories=False)


def fit(rows: pl.DataFrame, *recipe: Any, label: list[Any] | None = None) -> Preparation:
    y = None if label is None else pl.Series("late", label)
    return fit_preparation(recipe, rows, described(rows), label=y)


def prepared(rows: pl.DataFrame, *recipe: Any, to: pl.DataFrame | None = None) -> pl.DataFrame:
    return fit(rows, *recipe).apply(rows if to is None else to)


def numbers(*values: float | None) -> pl.DataFrame:
    return pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64)})


def texts(*values: str | None) -> pl.DataFrame:
    return pl.DataFrame({"c": pl.Series(values, dtype=pl.String)})


SAMPLE = np.random.default_rng(7).normal(1000, 3, 500)
CARRIERS = np.random.default_rng(8).choice(["AA", "B6", "DL", "UA"], 300, p=[0.5, 0.2, 0.2, 0.1]).tolist()


# -- the parts, against scikit-learn


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent"])
def test_impute_fills_in_what_scikit_learn_does(strategy: str) -> None:
    values = [3.0, 1.0, NAN, 1.0, 9.0, 3.0]
    theirs = SimpleImputer(strategy=strategy).fit_transform(np.array(values)[:, None])[:, 0]
    assert prepared(numbers(*values), tm.impute("x", strategy=strategy))["x"].to_list() == theirs.tolist()


@pytest.mark.parametrize(
    ("method", "theirs"), [("standard", StandardScaler()), ("min_max", MinMaxScaler()), ("robust", RobustScaler())]
)
def test_scale_gives_what_scikit_learn_gives(method: str, theirs: Any) -> None:
    expected = theirs.fit_transform(SAMPLE[:, None])[:, 0]
    ours = prepared(numbers(*SAMPLE), tm.scale("x", method=method))["x"].to_numpy()
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("spacing", ["quantile", "uniform"])
def test_buckets_are_those_of_scikit_learn(spacing: str) -> None:
    method = {"quantile_method": "linear"} if spacing == "quantile" else {}
    theirs = KBinsDiscretizer(7, encode="ordinal", strategy=spacing, **method).fit_transform(SAMPLE[:, None])[:, 0]
    ours = prepared(numbers(*SAMPLE), tm.bucketize("x", buckets=7, spacing=spacing))["x"]
    assert ours.to_list() == theirs.astype(int).tolist()


@pytest.mark.parametrize("most", [2, 3, 10])
def test_one_hot_columns_are_those_of_scikit_learn(most: int) -> None:
    theirs = OneHotEncoder(max_categories=most, handle_unknown="infrequent_if_exist", sparse_output=False)
    theirs.fit(np.array(CARRIERS)[:, None])
    asked = ["UA", "ZZ", "AA", "DL"]
    ours = prepared(texts(*CARRIERS), tm.one_hot("c", max_categories=most), to=texts(*asked))
    assert ours.to_numpy().tolist() == theirs.transform(np.array(asked)[:, None]).tolist()


def test_ordinals_are_those_of_scikit_learn() -> None:
    theirs = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1).fit(np.array(CARRIERS)[:, None])
    asked = ["UA", "ZZ", "AA"]
    ours = prepared(texts(*CARRIERS), tm.ordinal("c", unknown_value=-1), to=texts(*asked))["c"]
    assert ours.to_list() == theirs.transform(np.array(asked)[:, None])[:, 0].tolist()


@pytest.mark.parametrize("smooth", [0.0, 20.0])
def test_target_means_are_those_of_scikit_learn(smooth: float) -> None:
    late = (np.random.default_rng(9).random(300) < 0.3).astype(float)
    theirs = TargetEncoder(smooth=smooth, target_type="continuous").fit(np.array(CARRIERS)[:, None], late)
    asked = ["UA", "ZZ", "AA"]
    ours = fit(texts(*CARRIERS), tm.target_encode("c", smooth=smooth), label=late.tolist()).apply(texts(*asked))["c"]
    np.testing.assert_allclose(ours.to_numpy(), theirs.transform(np.array(asked)[:, None])[:, 0], rtol=1e-12)


# -- targets


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.booleans()), min_size=1, max_size=12),
    st.integers(2, 5),
    st.sampled_from([0.0, 2.0]),
)
@settings(max_examples=40, deadline=None)
def test_a_fitted_row_sees_means_of_the_other_folds_only(
    pairs: list[tuple[str | None, bool]], folds: int, smooth: float
) -> None:
    rows, label = texts(*(value for value, _ in pairs)), pl.Series([late for _, late in pairs])
    recipe = (tm.target_encode("c", smooth=smooth, folds=folds),)
    fitted = fit_preparation(recipe, rows, described(rows), label=label)
    found = fitted.apply_to_own(rows, label)["c"].to_list()
    for place, (value, _) in enumerate(pairs):
        rest = [pair for other, pair in enumerate(pairs) if other % folds != place % folds] or pairs
        mean = sum(late for _, late in rest) / len(rest)
        same = [late for other, late in rest if other == value] if len(pairs) > 1 else []
        expected = (sum(same) + smooth * mean) / (len(same) + smooth) if len(same) + smooth else mean
        assert found[place] == pytest.approx(expected)


def test_a_value_of_one_row_tells_nothing_of_its_label() -> None:
    rows, label = texts(*map(str, range(10))), [True] + [False] * 9
    recipe = (tm.target_encode("c", smooth=0),)
    own = fit_preparation(recipe, rows, described(rows), label=pl.Series(label))
    assert own.apply_to_own(rows, pl.Series(label))["c"][0] == 0.0
    assert own.apply(rows)["c"][0] == 1.0


def test_missing_is_a_value_of_its_own_to_a_target_and_a_new_value_gets_the_mean() -> None:
    fitted = fit(texts("a", None, None, "a"), tm.target_encode("c", smooth=0), label=[1, 0, 0, 0])
    assert fitted.apply(texts("a", None, "new"))["c"].to_list() == [0.5, 0.0, 0.25]


@pytest.mark.parametrize(("label", "says"), [(None, "needs a label"), (["a", "b"], "with a mean")])
def test_a_target_needs_a_label_with_a_mean(label: list[str] | None, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        fit(texts("a", "b"), tm.target_encode("c"), label=label)


# -- bad input, each defined


def test_nulls_and_nan_are_filled_in_and_infinity_is_not() -> None:
    rows = numbers(1.0, None, NAN, INF, 3.0)
    assert prepared(rows, tm.impute("x", indicator=True)).to_dict(as_series=False) == {
        "x": [1.0, 2.0, 2.0, INF, 3.0],
        "x_missing": [False, True, True, False, False],
    }


def test_groups_fill_in_their_own_and_unknown_groups_that_of_all() -> None:
    rows = pl.DataFrame({"o": ["a", "a", "b", None, "c"], "x": [1.0, 3.0, 10.0, 6.0, None]})
    asked = pl.DataFrame({"o": ["a", "b", "c", "new", None], "x": [None] * 5})
    assert prepared(rows, tm.impute("x", by="o"), to=asked)["x"].to_list() == [2.0, 10.0, 5.0, 5.0, 5.0]


def test_most_frequent_values_and_constants_keep_their_type() -> None:
    rows = pl.DataFrame(
        {"n": [2, 1, 2, 1, None], "c": ["b", "a", None, None, "b"], "f": [True, None, None, True, False]}
    )
    done = prepared(
        rows, tm.impute("n", "f", strategy="most_frequent"), tm.impute("c", strategy="constant", fill_value="?")
    )
    assert done.schema == {"n": pl.Int64(), "c": pl.String(), "f": pl.Boolean()}
    assert done["n"].to_list() == [2, 1, 2, 1, 1]  # of equals the smaller
    assert done["c"].to_list() == ["b", "a", "?", "?", "b"]
    assert done["f"].to_list() == [True, True, True, True, False]


@pytest.mark.parametrize("values", [[100.1] * 12, [5.0], [1e-300] * 3])
@pytest.mark.parametrize("method", ["standard", "min_max", "robust"])
def test_a_constant_column_scales_to_zero(values: list[float], method: str) -> None:
    done = prepared(numbers(*values), tm.scale("x", method=method))["x"].to_numpy()
    np.testing.assert_allclose(done, 0, atol=1e-12)


def test_scaling_keeps_missing_nan_and_infinite_and_learns_from_the_finite() -> None:
    done = prepared(numbers(1.0, 3.0, None, NAN, INF, -INF), tm.scale("x"))["x"].to_list()
    assert done[:3] == [-1.0, 1.0, None]
    assert math.isnan(done[3])
    assert done[4:] == [INF, -INF]


def test_clipping_bounds_what_is_infinite_and_keeps_whole_numbers() -> None:
    assert prepared(numbers(-INF, 0.5, None, INF), tm.clip("x", lower=0, upper=2))["x"].to_list() == [0, 0.5, None, 2]
    whole = prepared(pl.DataFrame({"x": [1, 5, 9]}), tm.clip("x", upper=6))["x"]
    assert (whole.dtype, whole.to_list()) == (pl.Int64, [1, 5, 6])
    assert prepared(numbers(*range(101)), tm.clip("x", quantiles=(0.1, 0.9)))["x"].to_list()[::50] == [10, 50, 90]


def test_a_range_holds_its_lower_end_and_not_its_upper() -> None:
    """Defect D8 of the field: a value on an edge raised, or fell into the range below, depending on the engine."""
    rows = numbers(-1.0, 0.0, 4.9, 5.0, 10.0, INF, -INF, None, NAN)
    assert prepared(rows, tm.bucketize("x", edges=[0, 5, 10]))["x"].to_list() == [0, 1, 1, 2, 3, 3, 0, None, None]


def test_equal_edges_are_one() -> None:
    assert set(prepared(numbers(1, 1, 1, 1, 2), tm.bucketize("x", buckets=4))["x"]) == {0}
    assert set(prepared(numbers(1, 2, 2, 2, 2), tm.bucketize("x", buckets=4))["x"]) == {0, 1}


def test_rare_new_and_missing_values_of_a_one_hot_column() -> None:
    rows = texts(*["a"] * 3, *["b"] * 2, "c", "d")
    done = prepared(rows, tm.one_hot("c", max_categories=3), to=texts("a", "c", "new", None))
    assert done.to_dict(as_series=False) == {"c_a": [1, 0, 0, 0], "c_b": [0, 0, 0, 0], "c_other": [0, 1, 1, 0]}
    exact = prepared(rows, tm.one_hot("c"), to=texts("new", None))
    assert exact.sum_horizontal().to_list() == [0, 0]


def test_ordinals_keep_missing_and_take_a_given_order() -> None:
    order = tm.ordinal("c", categories=["small", "large"])
    assert prepared(texts("large"), order, to=texts("small", "large", None, "?"))["c"].to_list() == [0, 1, None, None]
    with pytest.raises(InvalidArgument, match="categories"):
        fit(texts("a"), tm.ordinal("c", categories=[1, 2]))


def test_encoders_take_whole_numbers_and_booleans() -> None:
    rows = pl.DataFrame({"n": [7, 3, 7], "f": [True, False, None], "d": [1, 2, 3], "h": [True, None, False]})
    done = prepared(rows, tm.one_hot("n", "f"), tm.ordinal("d"), tm.hash_encode("h", buckets=1000))
    assert done.columns == ["n_3", "n_7", "f_False", "f_True", "d", "h"]
    assert done["f_True"].to_list() == [1, 0, 0]
    assert done["h"][1] is None


def test_hashes_are_the_same_for_ever() -> None:
    assert prepared(texts("N14228", "", None), tm.hash_encode("c", buckets=64))["c"].to_list() == [24, 52, None]
    assert prepared(texts(None), tm.hash_encode("c"))["c"].to_list() == [None]


def test_parts_of_a_time_are_read_by_the_clock_of_a_place() -> None:
    rows = pl.DataFrame({"at": [datetime(2024, 7, 1, 3, 30, tzinfo=UTC), None]})
    spec = tm.dates("at", parts=["day", "hour", "minute", "weekday", "month"], time_zone="America/New_York")
    assert prepared(rows, spec).rows() == [(30, 23, 30, 7, 6), (None,) * 5]
    assert prepared(rows, tm.dates("at", parts=["year", "quarter", "week", "day_of_year"])).row(0) == (2024, 3, 27, 183)


@pytest.mark.parametrize(
    "spec",
    [
        tm.impute("x"),
        tm.impute("x", strategy="most_frequent"),
        tm.scale("x"),
        tm.clip("x", quantiles=(0, 1)),
        tm.bucketize("x"),
    ],
)
def test_a_column_with_nothing_to_learn_is_an_error(spec: Any) -> None:
    with pytest.raises(InvalidData, match="column 'x' has no value in the 3 rows"):
        fit(numbers(None, NAN, INF), spec)


def test_no_rows_and_no_categories_are_errors() -> None:
    with pytest.raises(InvalidData, match="no row to fit"):
        fit(texts(), tm.ordinal("c"))
    with pytest.raises(InvalidData, match="no value"):
        fit(texts(None), tm.one_hot("c"))
    assert prepared(texts(None), tm.ordinal("c"))["c"].to_list() == [None]


def test_values_too_large_to_compute_with_are_an_error() -> None:
    with pytest.raises(InvalidData, match="too large"):
        fit(numbers(-1e308, 1e308), tm.scale("x", method="min_max"))


# -- choosing columns


def test_a_pattern_takes_what_fits_and_a_name_must_fit() -> None:
    rows = pl.DataFrame({"a__temp": [1.0], "a__sky": ["x"], "b__temp": [2]})
    assert fit(rows, tm.scale("*")).stages[0][0].column == "a__temp"
    assert [one.column for one in fit(rows, tm.scale("?__temp")).stages[0]] == ["a__temp", "b__temp"]
    with pytest.raises(InvalidArgument, match="scale\\('a__sky'\\) on a column of string"):
        fit(rows, tm.scale("a__sky"))
    with pytest.raises(NotFound, match="'a__tmp'"):
        fit(rows, tm.scale("a__tmp"))
    with pytest.raises(InvalidArgument, match="matches no column"):
        fit(rows, tm.scale("*__sky"))


def test_preparations_follow_one_another() -> None:
    rows = numbers(1.0, None, 5.0)
    assert prepared(rows, tm.impute("x"), tm.scale("x", method="min_max"))["x"].to_list() == [0.0, 0.5, 1.0]
    with pytest.raises(NotFound, match="column to scale 'c'"):
        fit(texts("a"), tm.one_hot("c"), tm.scale("c"))


def test_two_columns_of_one_name_are_an_error() -> None:
    rows = pl.DataFrame({"c": ["AA"], "c_AA": [1.0]})
    with pytest.raises(InvalidArgument, match="makes a column 'c_AA'"):
        fit(rows, tm.one_hot("c"))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: tm.impute("x", strategy="avg"),
        lambda: tm.impute("x", strategy="constant"),
        lambda: tm.impute("x", fill_value=0),
        lambda: tm.impute("x", strategy="constant", fill_value=NAN),
        lambda: tm.impute("x", strategy="constant", fill_value=0, by="o"),
        lambda: tm.impute(),
        lambda: tm.scale("x", method="max"),
        lambda: tm.clip("x"),
        lambda: tm.clip("x", lower=2, upper=1),
        lambda: tm.clip("x", lower=1, quantiles=(0, 1)),
        lambda: tm.clip("x", quantiles=(0.5, 0.5)),
        lambda: tm.bucketize("x", edges=[1, 1]),
        lambda: tm.bucketize("x", buckets=1),
        lambda: tm.one_hot("x", max_categories=1),
        lambda: tm.ordinal("x", categories=["a", "a"]),
        lambda: tm.ordinal("x", unknown_value=0),
        lambda: tm.target_encode("x", smooth=-1),
        lambda: tm.target_encode("x", folds=1),
        lambda: tm.hash_encode("x", buckets=0),
        lambda: tm.dates("x", parts=["second"]),
        lambda: tm.dates("x", parts=[]),
        lambda: tm.dates("x", time_zone="Mars/Olympus"),
    ],
)
def test_a_wrong_description_is_found_when_it_is_made(wrong: Any) -> None:
    with pytest.raises(InvalidArgument):
        wrong()


# -- the whole


def test_what_was_learned_is_plain_data_that_reads_back() -> None:
    rows = everything([1.0, None, 7.5], ["a", None, "b"], [3, 4, None])
    fitted = fit_all(rows)
    again = decode_preparation(fitted.encode())
    assert (again, again.digest) == (fitted, fitted.digest)
    assert_frame_equal(again.apply(rows), fitted.apply(rows))
    with pytest.raises(FormatTooNew):
        decode_preparation(b'{"format": 2}')
    with pytest.raises(InvalidData):
        decode_preparation(b"[]")


def test_rows_without_an_input_or_of_another_type_are_refused() -> None:
    fitted = fit(numbers(1.0), tm.scale("x"))
    with pytest.raises(InvalidArgument, match="no column 'x'"):
        fitted.apply(texts("a"))
    with pytest.raises(InvalidArgument, match="not float64"):
        fitted.apply(pl.DataFrame({"x": ["warm"]}))


def everything(xs: list[float | None], cs: list[str | None], ns: list[int | None]) -> pl.DataFrame:
    x, c, n = pl.Series(xs, dtype=pl.Float64), pl.Series(cs, dtype=pl.String), pl.Series(ns, dtype=pl.Int64)
    named = {"x": x, "y": x, "z": x, "c": c, "d": c, "e": c, "g": c, "n": n, "m": n}
    return pl.DataFrame(named).with_columns(at=n.cast(pl.Datetime("us", "UTC")))


def fit_all(rows: pl.DataFrame) -> Preparation:
    recipe = (
        tm.impute("x", strategy="median", by="c", indicator=True), tm.impute("m", strategy="most_frequent"),
        tm.impute("e", strategy="constant", fill_value="none"), tm.clip("x", quantiles=(0.05, 0.95)), tm.scale("x", "z"),
        tm.bucketize("y", buckets=3), tm.one_hot("c", max_categories=2), tm.ordinal("d", unknown_value=-1),
        tm.target_encode("e"), tm.scale("e"), tm.hash_encode("g", buckets=8), tm.dates("at"),
    )  # fmt: skip
    return fit_preparation(recipe, rows, described(rows), label=pl.Series(range(rows.height)))


floats = st.one_of(st.none(), st.floats(-1e6, 1e6, width=32), st.sampled_from([NAN, INF, -INF, 0.0, -0.0]))
words = st.one_of(st.none(), st.sampled_from(["a", "b", "c"]), st.text(max_size=3))
wholes = st.one_of(st.none(), st.integers(-(2**50), 2**50))
some_rows = st.lists(st.tuples(floats, words, wholes), min_size=1, max_size=8)


@given(learned=some_rows, asked=some_rows)
@settings(max_examples=40, deadline=None)
def test_whole_frames_and_single_rows_come_out_the_same(learned: list[Any], asked: list[Any]) -> None:
    fitted = fit_all(everything(*map(list, zip((1.0, "a", 1), *learned, strict=True))))
    rows = everything(*map(list, zip(*asked, strict=True)))
    whole = fitted.apply(rows)
    assert whole.columns == [column.name for column in fitted.columns]
    alone = [fitted.apply(rows[place : place + 1]) for place in range(rows.height)]
    assert_frame_equal(whole, pl.concat(alone), check_exact=True)


def test_many_rows_come_out_as_few_do() -> None:
    """Above some hundred rows keys are looked up by Polars instead of one by one."""
    number = pl.Series("n", [n % 7 if n % 5 else None for n in range(600)], dtype=pl.Int64)
    word = number.cast(pl.String).alias("c")
    rows = pl.DataFrame({"x": number.cast(pl.Float64), "c": word, "n": number, "f": number > 3, "e": word})
    recipe = (
        tm.impute("x", by="c"),
        tm.ordinal("f", "n", unknown_value=-1),
        tm.target_encode("c"),
        tm.impute("e", strategy="most_frequent", by="n"),
    )
    fitted = fit_preparation(
        recipe[:1] + recipe[2:] + recipe[1:2], rows.head(300), described(rows), label=pl.Series(range(300))
    )
    strange = rows.with_columns(n=pl.col("n") + 5, c=pl.col("c") + "?")
    for asked in (rows, strange):
        parts = [fitted.apply(part) for part in asked.iter_slices(100)]
        assert_frame_equal(fitted.apply(asked), pl.concat(parts), check_exact=True)
    assert fitted.apply(strange)["n"].to_list().count(-1) > 200


@given(some_rows)
@settings(max_examples=25, deadline=None)
def test_equal_rows_are_fitted_to_equal_bytes(learned: list[Any]) -> None:
    rows = everything(*map(list, zip((1.0, "a", 1), *learned, strict=True)))
    assert fit_all(rows).encode() == fit_all(rows.clone()).encode()
