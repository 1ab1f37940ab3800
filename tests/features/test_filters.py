"""Filters and categories: which rows an aggregate is over, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.features.tables import Tables

import tidemill as tm
from tidemill.core.errors import InvalidArgument, NotFound, UserCodeError
from tidemill.features.offline import offline_features
from tidemill.features.rows import check_row_wise, view_rows

PAID = tm.Source("paid", time="at")
ROWS = pl.DataFrame({
    "who": ["a"] * 6,
    "at": [1, 2, 3, 4, 5, 6],
    "kind": ["card", "cash", None, "card", "gift-1", "cash"],
    "level": [1, 2, 2, None, 1, 1],
    "amount": [1.0, 2.0, 4.0, None, 16.0, 32.0],
    "ok": [True, True, False, True, None, True],
})  # fmt: skip


def view(*aggregates: Any, transform: Any = None, **options: Any) -> tm.FeatureView:
    return tm.FeatureView(transform, source=PAID, keys="who", name="v", aggregates=aggregates, **options)


def ask(made: tm.FeatureView, rows: pl.DataFrame = ROWS) -> dict[str, Any]:
    tables = Tables()
    tables.add(PAID, rows)
    spine = pl.DataFrame({"who": ["a"], "t": [100]})
    found = offline_features(tm.FeatureService([made], name="s"), spine, "t", tables.scan).drop("who", "t")
    return {name.removeprefix("v__"): value for name, value in found.row(0, named=True).items()}


def test_rows_for_which_the_filter_is_not_true_do_not_count() -> None:
    made = view(
        tm.sum("amount", name="all"),
        tm.sum("amount", where=pl.col("ok"), name="ok"),
        tm.count("amount", where=pl.col("amount") > 3, name="large"),
        tm.count("amount", where=pl.col("kind").is_null() | pl.col("ok").is_null(), name="odd"),
        tm.last("kind", where=pl.col("amount") < 10, name="kind"),
        tm.count("amount", where=pl.lit(False), name="none"),
        tm.max("amount", where=pl.lit(False), name="no_max"),
    )
    assert ask(made) == {
        "all": 55.0, "ok": 35.0, "large": 3, "odd": 2, "kind": "cash", "none": 0, "no_max": None,
    }  # fmt: skip


def test_a_filter_sees_the_transformed_row() -> None:
    made = view(
        tm.sum("twice", where=pl.col("size") == "large", name="f"),
        transform=lambda rows: rows.select(
            twice=pl.col("amount") * 2, size=pl.when(pl.col("amount") > 3).then(pl.lit("large"))
        ),
    )
    assert ask(made) == {"f": 104.0}


def test_each_category_has_its_feature() -> None:
    made = view(
        tm.sum("amount", by="kind", categories=["card", "cash", "gift-1", "stamp"]),
        tm.count("amount", over=[100, 98], by="level", categories=[2, 1], name="n"),
        tm.mean("amount", over=97, by="ok", categories=[True], where=pl.col("level") == 1, name="mean"),
    )
    assert ask(made) == {
        "amount_sum_card_lifetime": 1.0, "amount_sum_cash_lifetime": 34.0, "amount_sum_gift_1_lifetime": 16.0,
        "amount_sum_stamp_lifetime": None, "n_2_100us": 2, "n_2_98us": 2, "n_1_100us": 3, "n_1_98us": 2, "mean_True": 32.0,
    }  # fmt: skip


def test_categories_of_an_enum_are_texts() -> None:
    rows = ROWS.with_columns(kind=pl.col("kind").cast(pl.Enum(["cash", "card", "gift-1"])))
    made = view(tm.count("amount", by="kind", categories=["cash", "card"], name="n"))
    assert ask(made, rows) == {"n_cash": 2, "n_card": 1}


def test_equal_filters_share_a_column_and_others_do_not() -> None:
    def condition() -> pl.Expr:
        return pl.col("ok") & (pl.col("amount") > 3)

    made = view(tm.sum("amount", where=condition(), name="a"), tm.mean("amount", where=condition(), name="b"),
                tm.mean("amount", where=~condition(), name="c"), tm.mean("amount", name="d"))  # fmt: skip
    tables = Tables()
    tables.add(PAID, ROWS)
    rows = view_rows(made, tables.scan(PAID).collect_schema())
    assert len(rows.inputs) == 3
    assert set(rows.reads) == {"amount", "ok", "who", "event_ts", "created_ts", "ingest_seq"}
    assert made.aggregates[0].input == made.aggregates[1].input
    assert made.aggregates[0].where == made.aggregates[1].where


def test_another_filter_or_category_is_another_definition() -> None:
    def digest(**options: Any) -> str:
        return view(tm.sum("amount", over="1h", name="f", **options)).digest()

    different = [
        digest(), digest(where=pl.col("ok")), digest(where=~pl.col("ok")), digest(by="kind", categories=["cash"]),
        digest(by="kind", categories=["card"]), digest(by="kind", categories=["card", "cash"]), digest(mode="tumbling"),
        view(tm.rate("amount", over="1h", name="f")).digest(),
        view(tm.rate("amount", over="1h", per="1m", name="f")).digest(),
        view(tm.sum("amount", over=tm.calendar("day", "UTC"), name="f")).digest(),
        view(tm.sum("amount", over=tm.calendar("day", "Europe/Berlin"), name="f")).digest(),
    ]  # fmt: skip
    assert len(set(different)) == len(different)
    assert digest(where=pl.col("ok")) == digest(where=pl.col("ok"))
    assert view(tm.sum("amount", over="1h", name="f")).describe()["aggregates"] == [
        ["sum", "amount", [[3_600_000_000, "exact", 0, 0]], 0, "f"]  # what it was before there were filters
    ]


@pytest.mark.parametrize(
    ("aggregate", "error", "found"),
    [
        (tm.sum("price"), NotFound, "column to aggregate in feature view 'v' 'price'"),
        (tm.sum("amount", where=pl.col("paid")), NotFound, "column of a filter in feature view 'v' 'paid'"),
        (tm.sum("amount", by="sort", categories=["a"]), NotFound, "column of categories in feature view 'v' 'sort'"),
        (tm.sum("amount", where=pl.col("amount") * 2), InvalidArgument, "a filter of feature view 'v' gives Float64"),
        (tm.sum("amount", where=pl.col("ok", "ok2")), UserCodeError, "a filter of feature view 'v' raised"),
        (tm.sum("amount", where=pl.col("kind") > 3), UserCodeError, "a filter of feature view 'v' raised"),
        (
            tm.sum("amount", by="kind", categories=[1]),
            InvalidArgument,
            "category 1 .* is not like column 'kind'.*String",
        ),
        (tm.sum("amount", by="level", categories=["1"]), InvalidArgument, "category '1' .* column 'level'.*Int64"),
        (tm.sum("amount", by="ok", categories=[1]), InvalidArgument, "category 1 .* column 'ok'.*Boolean"),
        (tm.sum("amount", by="amount", categories=[1]), InvalidArgument, "column 'amount', which is Float64"),
    ],
)
def test_what_does_not_fit_the_rows_is_refused(aggregate: Any, error: type[Exception], found: str) -> None:
    with pytest.raises(error, match=found):
        ask(view(aggregate))


def test_two_features_of_one_name_need_a_name() -> None:
    with pytest.raises(InvalidArgument, match=r"two features 'amount_sum_1h'.*Give one a name="):
        ask(view(tm.sum("amount", over="1h"), tm.sum("amount", over="1h", where=pl.col("ok"))))


@pytest.mark.parametrize("condition", [
    pl.col("amount") > pl.col("amount").mean(), pl.col("ok").shift(1), pl.col("amount").cum_sum() > 3,
    pl.col("amount") == pl.col("amount").max().over("level"),
])  # fmt: skip
def test_a_filter_that_looks_at_other_rows_is_refused(condition: pl.Expr) -> None:
    tables = Tables()
    tables.add(PAID, ROWS)
    stored = tables.scan(PAID).collect()
    filtered = view_rows(view(tm.sum("amount", where=condition)), stored.schema)
    with pytest.raises(InvalidArgument, match="gives other values when it sees rows"):
        check_row_wise(filtered, stored)
    check_row_wise(view_rows(view(tm.sum("amount", where=pl.col("amount") > 3)), stored.schema), stored)


def test_a_category_may_be_any_text() -> None:
    strange = 'quo"te] [\\'
    rows = ROWS.with_columns(kind=pl.lit(strange))
    made = view(tm.count("amount", by="kind", categories=[strange], name="n"))
    assert list(ask(made, rows).values()) == [5]


def test_a_value_weighs_half_after_a_half_life() -> None:
    made = view(tm.ewma("amount", half_life=2, name="e"))
    weights = np.array([2.0 ** (-(6 - t) / 2) for t in (1, 2, 3, 5, 6)])
    expected = float((weights * [1, 2, 4, 16, 32]).sum() / weights.sum())
    assert ask(made)["e"] == pytest.approx(expected, rel=1e-12)
