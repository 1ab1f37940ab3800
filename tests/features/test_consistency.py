"""Whatever order rows arrive and vectors are served in, a served value is the converged one or the one known at the time."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.features.tables import UTC
from tests.features.test_online import Bench

from tidemill.core.errors import InvalidArgument
from tidemill.core.protocols import LoggedVectors
from tidemill.core.records.verifications import Difference, FeatureCheck
from tidemill.core.schema import Column
from tidemill.core.specs import aggregates as agg
from tidemill.core.specs.changes import Changes
from tidemill.core.specs.features import FeatureService, FeatureView, on_demand
from tidemill.core.specs.sources import Source
from tidemill.features.consistency import Consistency, agree, merged, sampled

plain = Source("rows", time="at")
events = Source("rows", time="at", id="number")
delayed = Source("rows", time="at", delay=2)
log = Source("rows", time="at", changes=Changes())
windows = [agg.sum("x", over=6), agg.count("x"), agg.last_k("x", 2, over=9, name="last"), agg.stddev("x", over=9)]
VIEWS = [
    FeatureView(lambda rows: rows.select("x", "s"), source=plain, keys="k", ttl=7, name="state"),
    FeatureView(lambda rows: rows.select("x"), source=delayed, keys="k", name="delayed_state"),
    FeatureView(lambda rows: rows.select("x"), source=plain, keys="k", known_at=True, name="known_state"),
    FeatureView(lambda rows: rows.select("x"), source=log, keys="k", name="changing_state"),
    FeatureView(None, source=plain, keys="k", aggregates=windows, name="plain"),
    FeatureView(None, source=events, keys="k", aggregates=windows, name="once"),
    FeatureView(None, source=delayed, keys="k", aggregates=windows, known_at=True, name="delayed"),
    FeatureView(None, source=log, keys="k", aggregates=windows, name="changing"),
]


@on_demand
def derived(rows: Any) -> Any:
    spread = pl.col("once__x_sum_6us") - pl.col("plain__x_sum_6us")
    return rows.select(spread=spread, filled=pl.col("state__x").fill_null(pl.col("delayed_state__x")))


SERVICE = FeatureService([derived, *VIEWS], name="service")
REQUEST = [Column(name="k", type="string")]

_row = st.tuples(
    st.sampled_from(["a", "a", "b", None]), st.integers(0, 14), st.sampled_from([None, 0.5, 3.0, float("nan")]),
    st.sampled_from(["p", "q", None]), st.integers(0, 2), st.sampled_from("++-"),
)  # fmt: skip
_push = st.lists(_row, min_size=1, max_size=6)
_ask = st.lists(st.tuples(st.sampled_from(["a", "b", "z", None]), st.integers(0, 8)), min_size=1, max_size=4)


def rows_of(drawn: list[Any], now: int, first: int) -> pl.DataFrame:
    """Rows that happened some time before they arrive now."""
    at = pl.Series([now - row[1] for row in drawn], dtype=pl.Int64).cast(UTC)
    frame = pl.DataFrame(
        [(k, x, s, number, op) for k, _, x, s, number, op in drawn],
        schema={"k": pl.String, "x": pl.Float64, "s": pl.String, "number": pl.Int64, "op": pl.String}, orient="row",
    )  # fmt: skip
    return frame.with_columns(
        at=at, event_ts=at, created_ts=pl.lit(now, pl.Int64).cast(UTC),
        ingest_seq=pl.int_range(first, first + len(drawn), dtype=pl.Int64),
    )  # fmt: skip


def lived(steps: list[Any]) -> tuple[Bench, pl.DataFrame]:
    """Push rows and serve vectors in turn; what was served."""
    bench, now, first, served = Bench(), 100, 1, []
    bench.add(plain, rows_of([("a", 0, 1.0, "p", 0, "+")], now, 0))
    bench.online.materialize(VIEWS)
    for push, ask in steps:
        arrived = rows_of(push, now := now + 1, first)
        first += len(push)
        bench.add(plain, arrived)
        for view in VIEWS:
            bench.online.apply_rows([view], view.source, arrived)
        now += 1
        asked = pl.DataFrame({"k": [key for key, _ in ask]}, schema={"k": pl.String})
        t = np.array([now - back for _, back in ask], np.int64)
        found = bench.online.lookup(SERVICE, asked, t)
        times = pl.DataFrame({"prediction_time": t}).with_columns(received_at=pl.lit(now, pl.Int64))
        served.append(pl.concat([asked, times, found], how="horizontal"))
    return bench, pl.concat(served)


def checks(bench: Bench, served: pl.DataFrame, **options: Any) -> dict[str, FeatureCheck]:
    consistency = Consistency(SERVICE, REQUEST, {"k": pl.String()}, bench.read, **{"lag": 0, **options})
    return {one.feature: one for one in consistency.check(LoggedVectors("e", served, 0), 1.0)}


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=5)
@given(steps=st.lists(st.tuples(_push, _ask), min_size=1, max_size=4), place=st.integers(0, 100))
def test_what_was_served_is_equal_or_late_and_what_was_altered_is_a_defect(steps: list[Any], place: int) -> None:
    bench, served = lived(steps)
    found = checks(bench, served)
    assert list(found) == served.columns[3:]
    assert {one.feature: one.examples for one in found.values() if one.defects} == {}
    assert all(one.equal + one.late == one.rows == served.height for one in found.values())
    last = served.tail(len(steps[-1][1]))  # no row arrived after these
    assert all(one.equal == last.height for one in checks(bench, last).values())
    name, row = served.columns[3 + place % len(found)], place % served.height
    before = served[name]
    # No feature is that much, with all rows or with those known: a count of 7 is right where there are 7 rows.
    other = pl.Series([[9.0]], dtype=before.dtype) if before.dtype.is_nested() else pl.Series(["77"]).cast(before.dtype)
    altered = served.with_columns(pl.concat([before[:row], other, before[row + 1 :]]).alias(name))
    wrong = checks(bench, altered)
    assert {one.feature: one.defects for one in wrong.values() if one.defects} == {name: 1}
    assert [example.kind for example in wrong[name].examples][:1] == ["defect"]


def test_a_difference_is_shown_with_what_it_should_have_been() -> None:
    bench, served = lived([([("b", 9, 2.0, "q", 1, "+")], [("b", 0)]), ([("b", 4, 4.0, "q", 2, "+")], [("b", 0)])])
    found = checks(bench, served)["plain__x_count_lifetime"]
    assert (found.equal, found.late) == (1, 1)
    assert found.examples == (
        Difference(kind="late data", endpoint="e", keys={"k": "b"}, time=102, received_at=102, online=1, converged=2,
                   known_at=1),
    )  # fmt: skip


def test_what_follows_from_sums_of_floats_is_right_where_they_are() -> None:
    bench, served = lived([([("a", 1, 3.0, "p", 1, "+")], [("a", 0), ("b", 0)])])
    assert served["spread"].to_list()[0] == 0.0
    last_place = served["once__x_sum_6us"] * (1 + 1e-12)
    off = served.with_columns(last_place, spread=last_place - served["plain__x_sum_6us"])
    assert off["spread"][0] != 0.0
    assert all(one.equal == 2 for one in checks(bench, off).values())
    alone = off.with_columns(served["once__x_sum_6us"])  # follows from nothing that was served
    far = served.with_columns(once__x_sum_6us=served["once__x_sum_6us"] + 1, spread=served["spread"] + 1)
    assert {name for name, one in checks(bench, alone).items() if one.defects} == {"spread"}
    assert {name for name, one in checks(bench, far).items() if one.defects} == {"once__x_sum_6us", "spread"}


def test_agreement_is_exact_but_for_sums_of_floats() -> None:
    ones = pl.Series([1.0, 1.0, None, float("nan"), float("inf"), float("nan")])
    others = pl.Series([1.0 + 1e-10, 1.0 + 1e-8, None, float("nan"), float("inf"), None])
    assert agree(ones, others, 1e-9).tolist() == [True, False, True, True, True, False]
    assert agree(ones, others).tolist() == [False, False, True, True, True, False]
    assert agree(pl.Series(["a"]), pl.Series(["a"], dtype=pl.Categorical)).tolist() == [True]
    assert agree(pl.Series([[1.0], None, []]), pl.Series([[1.0], [1.0], []]), 1e-9).tolist() == [True, False, True]


def test_a_sample_is_by_key_and_always_the_same() -> None:
    keys = pl.DataFrame({"a": [n // 3 for n in range(3000)], "b": ["x"] * 3000})
    tenth = sampled(keys, 0.1)
    assert 60 <= tenth.sum() / 3 <= 140
    assert (tenth.to_numpy().reshape(-1, 3).sum(axis=1) % 3 == 0).all()
    assert (~tenth | sampled(keys, 0.3)).all()  # a larger sample holds the smaller one
    assert sampled(keys.reverse(), 0.1).equals(tenth.reverse())
    assert sampled(pl.DataFrame({"a": [None, None]}, schema={"a": pl.Int64}), 0.5).n_unique() == 1
    assert sampled(pl.DataFrame(height=2), 0.5).to_list() == [True, True]
    few = pl.DataFrame({"a": [1, 2, 1, 3]})
    assert few.filter(sampled(few, 1e-9)).n_unique() == 1, "there is always something to look at"
    assert sampled(few.clear(), 0.5).to_list() == []
    for share in (0, -0.5, 1.01):
        with pytest.raises(InvalidArgument):
            sampled(keys, share)


def test_the_checks_of_endpoints_add_up() -> None:
    def difference(kind: Any, endpoint: str) -> Difference:
        return Difference(
            kind=kind, endpoint=endpoint, keys={}, time=1, received_at=1, online=1, converged=2, known_at=1
        )

    def one(endpoint: str, defects: int, late: int) -> FeatureCheck:
        examples = [difference("defect", endpoint)] * defects + [difference("late data", endpoint)] * late
        return FeatureCheck(
            feature="f", rows=9, equal=9 - defects - late, late=late, defects=defects, examples=tuple(examples)
        )

    (both,) = merged([[one("a", 2, 1)], [one("b", 2, 1)]])
    assert (both.rows, both.equal, both.late, both.defects) == (18, 12, 2, 4)
    assert [(e.kind, e.endpoint) for e in both.examples] == [
        ("defect", "a"), ("defect", "a"), ("defect", "b"), ("late data", "a"), ("late data", "b"),
    ]  # fmt: skip
