from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.features.agreement import ARGUMENTS, NUMERIC, agree, of_oracle, tolerance, windows

from tidemill.core.errors import InvalidArgument, InvalidData
from tidemill.core.specs.aggregates import OPERATIONS, Aggregate
from tidemill.core.specs.windows import AnyWindow, Window
from tidemill.features.kernel import visibility
from tidemill.features.kernel.history import History
from tidemill.testing import oracle

UTC = pl.Datetime("us", "UTC")

# Few, close times: ties, and events exactly on the bounds of windows, are common.
times = st.integers(-12, 12)
keys = st.tuples(st.sampled_from([1, 2, 11, None]), st.sampled_from(["a", "b", None]))
floats = st.sampled_from([None, 0.5, -1.25, 3.0, 1e16, 100.1, math.nan, math.inf, -math.inf])
VALUES: dict[str, tuple[st.SearchStrategy[Any], pl.DataType]] = {
    "float": (floats, pl.Float64()),
    "finite": (st.none() | st.floats(-1e6, 1e6), pl.Float64()),
    "int": (st.none() | st.integers(-(2**40), 2**40), pl.Int64()),
    "few": (st.none() | st.integers(0, 3), pl.Int64()),
    "bool": (st.none() | st.booleans(), pl.Boolean()),
    "text": (st.none() | st.sampled_from(["", "x", "y", "zz"]), pl.String()),
}


@st.composite
def histories(draw: st.DrawFn, kind: str) -> list[oracle.Row]:
    row = st.tuples(keys, st.none() | times, st.none() | times, VALUES[kind][0], st.none() | st.integers(0, 3))
    drawn = draw(st.lists(row, max_size=25))
    seqs = draw(st.permutations(range(len(drawn))))
    return [oracle.Row(k, e, n, s, v, i) for (k, e, n, v, i), s in zip(drawn, seqs, strict=True)]


questions = st.lists(st.tuples(keys, times), max_size=12)


def frame(rows: list[oracle.Row], dtype: pl.DataType) -> pl.DataFrame:
    data = {
        "k": [row.key[0] for row in rows],
        "j": [row.key[1] for row in rows],
        "event_ts": [row.event for row in rows],
        "created_ts": [row.known for row in rows],
        "ingest_seq": [row.seq for row in rows],
        "value": [row.value for row in rows],
        "event_id": [row.event_id for row in rows],
        "place": list(range(len(rows))),
    }
    schema = {"k": pl.Int64, "j": pl.String, "event_ts": pl.Int64, "created_ts": pl.Int64, "ingest_seq": pl.Int64,
              "value": dtype, "event_id": pl.Int64, "place": pl.Int64}  # fmt: skip
    return pl.DataFrame(data, schema=schema, strict=False).with_columns(pl.col("event_ts", "created_ts").cast(UTC))


def asked(spine: list[tuple[tuple[Any, Any], int]]) -> tuple[pl.DataFrame, np.ndarray[Any, Any]]:
    data = {"k": [key[0] for key, _ in spine], "j": [key[1] for key, _ in spine]}
    return pl.DataFrame(data, schema={"k": pl.Int64, "j": pl.String}), np.array([t for _, t in spine], np.int64)


@given(rows=histories("float"), spine=questions, ttl=st.sampled_from([0, 3]), delay=st.sampled_from([0, 2]),
       known=st.booleans())  # fmt: skip
def test_the_state_is_the_one_the_oracle_finds(
    rows: list[oracle.Row], spine: list[tuple[tuple[Any, Any], int]], ttl: int, delay: int, known: bool
) -> None:
    history = History(frame(rows, pl.Float64()), ["k", "j"], delay=delay, known=known)
    found = history.latest(*asked(spine)[:1], ["k", "j"], asked(spine)[1], ["place", "value"], ttl)
    expected = [oracle.state(rows, key, t, ttl=ttl, delay=delay, known=known) for key, t in spine]
    assert found["place"].to_list() == [None if row is None else rows.index(row) for row in expected]
    assert all(map(agree, found["value"].to_list(), [None if row is None else row.value for row in expected]))


@pytest.mark.parametrize("kind", list(VALUES))
@given(data=st.data(), spine=questions, window=windows, delay=st.sampled_from([0, 2]), known=st.booleans(),
       once=st.booleans(), k=st.integers(1, 4), pairs=st.sampled_from([3, 1000]))  # fmt: skip
def test_every_aggregate_is_the_one_the_oracle_finds(
    kind: str, data: st.DataObject, spine: list[tuple[tuple[Any, Any], int]], window: AnyWindow, delay: int, known: bool,
    once: bool, k: int, pairs: int,
) -> None:  # fmt: skip
    rows = data.draw(histories(kind))
    operations = [name for name in OPERATIONS if kind != "text" or name not in NUMERIC]
    if window.reach is None:  # no length, no rate
        operations = [name for name in operations if "rate" not in name]
    aggregates = [
        Aggregate(name, "value", (window,), k if name.endswith("_k") else 0, name, ARGUMENTS.get(name, ()))
        for name in operations
    ]
    history = History(frame(rows, VALUES[kind][1]), ["k", "j"], delay=delay, known=known,
                      event_id=["event_id"] if once else [])  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(visibility.visible_batches, "__defaults__", (pairs,))
        found = history.windowed(asked(spine)[0], ["k", "j"], asked(spine)[1], aggregates)
    assert found.columns == operations
    for name in operations:
        for (key, t), got in zip(spine, found[name].to_list() if spine else [], strict=True):
            options = of_oracle(window)
            expected = oracle.aggregate(rows, key, t, name, k=k, delay=delay, known=known, once=once,
                                        arguments=ARGUMENTS.get(name, ()), **options)  # fmt: skip
            inside = oracle.aggregate(rows, key, t, "first_k", k=99, delay=delay, known=known, once=once, **options)
            assert agree(got, expected, tolerance(name, inside, expected)), (name, key, t, got, expected)


def windowed(values: list[Any], operation: str, dtype: Any = None) -> Any:
    rows = pl.DataFrame({"k": 1, "value": pl.Series(values, dtype=dtype), "event_ts": range(len(values)),
                         "created_ts": None, "ingest_seq": range(len(values))},
                        schema_overrides={"event_ts": UTC, "created_ts": UTC})  # fmt: skip
    history = History(rows, ["k"])
    return history.windowed(
        pl.DataFrame({"k": [1]}),
        ["k"],
        np.array([len(values)]),
        [Aggregate(operation, "value", (Window(None),), 0, "x")],
    )["x"].item()


def test_a_constant_has_no_spread() -> None:
    assert windowed([100.1] * 12, "stddev_samp") == 0
    for far in ([1.7e9 + i for i in range(12)], [1e8 + 0.1 * i for i in range(12)]):
        assert windowed(far, "stddev_samp") == pytest.approx(oracle.combine("stddev_samp", far), rel=1e-12)


def test_a_huge_value_leaves_no_trace_once_it_has_left_the_window() -> None:
    rows = pl.DataFrame({"k": 1, "value": [1e16] + [1.0] * 12, "event_ts": [600 * i for i in range(13)],
                         "created_ts": None, "ingest_seq": range(13)},
                        schema_overrides={"event_ts": UTC, "created_ts": UTC})  # fmt: skip
    t = np.array([600 * i for i in range(1, 14)])
    total = Aggregate("sum", "value", (Window(3600),), 0, "x")
    found = History(rows, ["k"]).windowed(pl.DataFrame({"k": [1] * 13}), ["k"], t, [total])["x"].to_list()
    assert found == [1e16 + i for i in range(6)] + [6.0] * 7


def test_a_sum_of_integers_is_exact_or_an_error() -> None:
    assert windowed([2**62, -(2**62), 2**62, 1], "sum") == 2**62 + 1
    with pytest.raises(InvalidData, match="64 bits"):
        windowed([2**62, 2**62], "sum")
    assert windowed([2**62, 2**62], "mean") == 2.0**62


def test_text_has_no_mean() -> None:
    with pytest.raises(InvalidArgument, match=r"mean.*String"):
        windowed(["a"], "mean")
    with pytest.raises(InvalidArgument, match="max"):
        windowed([[1]], "max")


def test_other_types_have_an_order_too() -> None:
    moments = [pl.date(2024, 1, 2), pl.date(2023, 5, 6)]
    days = pl.select(pl.concat_list(moments)).to_series().explode().to_list()
    assert windowed(days, "min") == days[1]
    assert windowed(["b", None, "a"], "max", pl.Enum(["b", "a"])) == "b"
    assert windowed([None, None], "sum") is None
    assert windowed([None, None], "count") == 0
    assert windowed([1, 2], "sum", pl.UInt8) == 3
    assert windowed([0.0, -0.0, math.nan, -math.nan], "unique_count") == 2


def test_many_keys_over_centuries_do_not_collide() -> None:
    n = 3000
    rows = pl.DataFrame({"k": range(n), "value": range(n), "event_ts": [(-1) ** i * 2**61 + i for i in range(n)],
                         "created_ts": None, "ingest_seq": range(n)},
                        schema_overrides={"event_ts": UTC, "created_ts": UTC})  # fmt: skip
    t = rows["event_ts"].cast(pl.Int64).to_numpy()
    found = History(rows, ["k"]).latest(rows, ["k"], t, ["value"], 0)
    assert found["value"].to_list() == list(range(n))
    assert History(rows, ["k"]).latest(rows, ["k"], t - 1, ["value"], 0)["value"].null_count() == n
