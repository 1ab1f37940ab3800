"""Rows that are taken and answered one by one or few at a time: the short ways give what the long ones and offline give."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from tests.features.tables import UTC
from tests.features.test_online import Bench, same

from tidemill.core.errors import InvalidData, NotReady
from tidemill.core.specs import aggregates as agg
from tidemill.core.specs.checks import check
from tidemill.core.specs.features import FeatureService, FeatureView
from tidemill.core.specs.sources import Source
from tidemill.features import quick
from tidemill.features.feed import Batch, Names, Shape
from tidemill.stores.online.lmdb import LmdbOnline
from tidemill.stores.online.log import HEADER
from tidemill.stores.online.memory import MemoryOnline

events = Source("events", time="at")
_FAST = [agg.count, agg.sum, agg.mean, agg.min, agg.max, agg.first, agg.last]


def fast(column: str, **options: Any) -> FeatureView:
    aggregates = [operation(column, over=[3, 8]) for operation in _FAST] + [
        agg.sum(column, over=5, offset=2, name="past")
    ]
    return FeatureView(None, source=events, keys=["k", "n"], aggregates=aggregates, name=f"fast_{column}", **options)


VIEWS = [fast("x"), fast("i"), fast("b"), FeatureView(None, source=events, keys="k", name="state")]
SERVICE = FeatureService(VIEWS, name="streamed")

_x = st.sampled_from([None, 0.1, -2.5, 1e16, -1e16, 3.0, float("nan"), float("inf"), float("-inf"), 1e308, -1e308])
_usual = st.sampled_from([0.1, -2.5, 1e16, -1e16, 3.0])
_times = st.integers(0, 20)
_row = st.tuples(st.sampled_from(["a", "a", "b", None]), st.sampled_from([1, 1, 2]), _usual | _x,
                 st.sampled_from([0, 7, -3, 2**40]), st.booleans() | st.none(), st.none() | _times,
                 st.none() | _times)  # fmt: skip
_batches = st.lists(st.lists(_row, min_size=1, max_size=1) | st.lists(_row, min_size=1, max_size=12), max_size=15)
SCHEMA = {"k": pl.String, "n": pl.Int64, "x": pl.Float64, "i": pl.Int64, "b": pl.Boolean}


def frame(rows: list[Any], first: int) -> pl.DataFrame:
    columns = list(zip(*rows, strict=True)) or [()] * 7
    values = {name: pl.Series(columns[place], dtype=dtype) for place, (name, dtype) in enumerate(SCHEMA.items())}
    at, created = (pl.Series(columns[place], dtype=pl.Int64).cast(UTC) for place in (5, 6))
    sequence = pl.Series(range(first, first + len(rows)), dtype=pl.Int64)
    return pl.DataFrame(values).with_columns(at=at, event_ts=at, created_ts=created, ingest_seq=sequence)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbOnline]:
    opened = LmdbOnline(tmp_path, log_size=HEADER + 800)
    yield opened
    opened.close()


@pytest.fixture(params=[quick.FEW, 1])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many rows are few: with 1, most questions are answered by arrays."""
    monkeypatch.setattr(quick, "FEW", request.param)
    return int(request.param)


@pytest.fixture
def bench(store: LmdbOnline, few: int) -> Bench:
    """One for all examples of a test: working the views out takes longer than all else."""
    return Bench(store)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=12)
@given(batches=_batches, at=st.lists(st.integers(0, 25), min_size=1, max_size=2), known=st.booleans())
def test_streamed_rows_are_answered_as_offline(bench: Bench, batches: list[Any], at: list[int], known: bool) -> None:
    bench.tables, first = {events.name: frame([], 1)}, 1
    bench.online.materialize(VIEWS, full=True)
    asked = pl.DataFrame({"k": ["a", "b", "a", "z"], "n": [1, 1, 2, 1]})
    for rows in batches:
        delivered = frame(rows, first)
        first += len(rows)
        bench.add(events, delivered)
        bench.online.apply_rows(VIEWS, events, delivered)
        assert bench.online.apply_rows(VIEWS, events, delivered) == 0
        bench.online.lookup(SERVICE, asked, np.full(4, 20))  # has some of it in memory from now on
    for t in at:
        found = bench.online.lookup(SERVICE, asked, np.full(4, t), known_at=known)
        expected = bench.offline(SERVICE, asked, [t] * 4, known_at=known)
        same(found, expected)
        for place, keys in enumerate(asked.iter_rows(named=True)):
            vector = bench.online.vector(SERVICE, keys, t, known_at=known)
            same(pl.DataFrame([vector], schema=expected.schema), expected[place])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=12)
@given(rows=st.lists(_row, max_size=25), again=st.lists(st.integers(0, 24), max_size=5))
def test_a_row_is_answered_as_if_it_were_applied_and_then_asked_for(
    bench: Bench, rows: list[Any], again: list[int]
) -> None:
    numbered = list(enumerate(rows, 1))
    repeated = [numbered[place] for place in again if place < len(rows)]
    bench.tables = {events.name: frame([], 1)}
    bench.online.materialize(VIEWS, full=True)
    for place, (sequence, row) in enumerate([*numbered, *repeated]):  # the same rows again change nothing
        delivered = frame([row], sequence)
        if place < len(rows):
            bench.add(events, delivered)
        (values,) = delivered.to_dicts()
        if row[5] is None:
            with pytest.raises(InvalidData, match="have no 'event_ts'"):
                bench.online.respond(SERVICE, events, values)
            continue
        found = bench.online.respond(SERVICE, events, values)
        expected = bench.offline(SERVICE, delivered.select("k", "n"), [row[5]])
        same(pl.DataFrame([found], schema=expected.schema), expected)
        assert bench.online.apply_rows(VIEWS, events, delivered) == 0


def values_of(row: Any, sequence: int) -> dict[str, Any]:
    (values,) = frame([row], sequence).to_dicts()
    return values


def test_the_second_row_goes_the_short_way_until_another_process_builds_anew(
    store: LmdbOnline, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(store)
    bench.add(events, frame([("a", 1, 1.0, 1, True, 0, 0)], 1))
    bench.online.materialize(VIEWS)
    bench.online.respond(SERVICE, events, values_of(("a", 1, 2.0, 1, True, 1, 1), 2))
    with monkeypatch.context() as patch:
        patch.setattr(bench.online, "apply_rows", None)
        found = bench.online.respond(SERVICE, events, values_of(("a", 1, 3.0, 1, True, 2, 2), 3))
        assert (found["fast_x__x_count_3us"], found["fast_x__x_sum_3us"]) == (2, 3.0)
    bench.add(events, frame([("a", 1, 2.0, 1, True, 1, 1), ("a", 1, 3.0, 1, True, 2, 2)], 2))
    other = Bench(store, bench.tables)
    other.online.materialize(VIEWS, full=True)
    found = bench.online.respond(SERVICE, events, values_of(("a", 1, 4.0, 1, True, 3, 3), 4))
    assert (found["fast_x__x_count_3us"], found["fast_x__x_sum_3us"]) == (3, 6.0)
    assert other.online.vector(SERVICE, {"k": "a", "n": 1}, 4)["fast_x__x_sum_3us"] == 9.0


def test_other_views_and_those_with_a_transform_take_the_row_too(store: LmdbOnline) -> None:
    bench = Bench(store)
    doubled = FeatureView(lambda rows: rows.select(y=pl.col("x") * 2), source=events, keys="k", name="doubled")
    bench.add(events, frame([("a", 1, 1.0, 1, True, 0, 0)], 1))
    bench.online.materialize([*VIEWS, doubled])
    plain, both = FeatureService(VIEWS[:2], name="two"), FeatureService([VIEWS[0], doubled], name="both")
    for sequence in (2, 3, 4):
        row = values_of(("a", 1, float(sequence), 1, True, sequence, sequence), sequence)
        bench.online.respond(plain, events, row, views=[*VIEWS, doubled])
        assert bench.online.apply_rows([*VIEWS, doubled], events, frame([("a", 1, float(sequence), 1, True, sequence,
                                                                         sequence)], sequence)) == 0  # fmt: skip
        assert bench.online.respond(both, events, row)["doubled__y"] == 2.0 * sequence


def test_a_row_of_a_view_that_is_not_there_is_refused(store: LmdbOnline) -> None:
    bench = Bench(store)
    bench.add(events, frame([("a", 1, 1.0, 1, True, 0, 0)], 1))
    with pytest.raises(NotReady):
        bench.online.respond(SERVICE, events, values_of(("a", 1, 2.0, 1, True, 1, 1), 2))
    bench.online.materialize(VIEWS)
    bench.online.respond(SERVICE, events, values_of(("a", 1, 2.0, 1, True, 1, 1), 2))
    bench.online.remove(VIEWS)
    with pytest.raises(NotReady):
        bench.online.respond(SERVICE, events, values_of(("a", 1, 2.0, 1, True, 2, 2), 3))


def test_numbers_without_a_place_in_a_word_are_refused_as_in_a_frame(store: LmdbOnline) -> None:
    bench = Bench(store)
    bench.add(events, frame([("a", 1, 1.0, 1, True, 0, 0)], 1))
    bench.online.materialize(VIEWS)
    for sequence in (2, 3):
        bench.online.respond(SERVICE, events, values_of(("a", 1, 2.0, 1, True, 1, 1), sequence))
    row = values_of(("a", 1, 2.0, 1, True, 2, 2), 4)
    with pytest.raises((OverflowError, TypeError, pl.exceptions.PolarsError)):
        bench.online.respond(SERVICE, events, {**row, "n": 2**70})


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(row=_row)
def test_one_row_becomes_the_same_entry_on_the_short_way(row: Any) -> None:
    delivered = frame([row], 5)
    for view in VIEWS:
        shape = Shape.of(view, delivered.schema)
        assert shape.is_plain
        expected = Batch(shape, delivered).entries()
        entry = shape.single.entry(delivered) if shape.single else None
        usual = None not in (row[0], row[5], row[6])
        assert (entry is not None) == (shape.single is not None and usual)
        if entry is not None:
            short = entry.entries()
            assert short.keys == expected.keys
            assert short.starts.tolist() == expected.starts.tolist()
            assert short.times.tolist() == expected.times.tolist()
            assert np.asarray(short.payloads).tolist() == np.asarray(expected.payloads).tolist()


def test_the_short_way_is_taken_where_it_is_meant() -> None:
    schema = frame([], 1).schema
    assert [Shape.of(view, schema).single is not None for view in VIEWS] == [True, True, True, True]
    changed = FeatureView(lambda rows: rows.with_columns(x=pl.col("x") * 2), source=events, keys="k", name="changed")
    texts = FeatureView(None, source=events, keys="n", name="texts")
    checked = FeatureView(None, source=events, keys="k", name="checked", checks=[check("x").between(0, 1)])
    filtered = FeatureView(None, source=events, keys="k", name="filtered", aggregates=[
        agg.sum("x", over=5, where=pl.col("i") > 0)])  # fmt: skip
    for view in (changed, texts, checked, filtered):
        assert Shape.of(view, schema).single is None


def test_values_of_another_type_than_the_table_has_go_the_long_way() -> None:
    shape = Shape.of(VIEWS[0], frame([], 1).schema)
    row = frame([("a", 1, 2.0, 1, True, 3, 3)], 1)
    assert shape.single is not None
    assert shape.single.entry(row) is not None
    assert shape.single.entry(row.with_columns(x=pl.col("x").cast(pl.Int64))) is None
    assert shape.single.entry(row.with_columns(pl.col("event_ts").cast(pl.Datetime("ms", "UTC")))) is None
    assert shape.single.entry(row.with_columns(pl.col("created_ts").dt.replace_time_zone(None))) is None


def test_many_rows_and_integers_beyond_64_bits_go_the_long_way(store: LmdbOnline) -> None:
    bench = Bench(store)
    bench.add(events, frame([("a", 1, 1.0, 2**62, True, 0, 0)] * 3, 1))
    bench.online.materialize(VIEWS)
    with pytest.raises(InvalidData, match="does not fit into 64 bits"):
        bench.online.vector(FeatureService([VIEWS[1]], name="large"), {"k": "a", "n": 1}, 2)
    rows = [("a", 1, float(place), place, True, place // 40, 0) for place in range(quick.FEW + 50)]
    bench = Bench(MemoryOnline())
    bench.add(events, frame(rows, 1))
    bench.online.materialize(VIEWS)
    asked = pl.DataFrame({"k": ["a"], "n": [1]})
    for t in (3, 6, 8):
        expected = bench.offline(SERVICE, asked, [t])
        vector = bench.online.vector(SERVICE, {"k": "a", "n": 1}, t)
        same(pl.DataFrame([vector], schema=expected.schema), expected)


def test_a_pointer_that_moved_is_noticed(store: LmdbOnline) -> None:
    bench, other = Bench(store), Bench(store)
    for one in (bench, other):
        one.add(events, frame([("a", 1, 1.0, 1, True, 0, 0)], 1))
    bench.online.materialize(VIEWS)
    bench.online.apply_rows(VIEWS, events, frame([("a", 1, 1.0, 1, True, 1, 0)], 2))
    other.add(events, frame([("a", 1, 1.0, 1, True, 1, 0)], 2))
    other.online.materialize(VIEWS, full=True)
    bench.online.apply_rows(VIEWS, events, frame([("a", 1, 1.0, 1, True, 2, 0)], 3))
    for one in (bench, other):
        found = one.online.vector(SERVICE, {"k": "a", "n": 1}, 3)
        assert {value for name, value in found.items() if name.startswith("fast_x__x_count")} == {3}
    names = Names.of(VIEWS[0])
    with store.read() as reader:
        assert reader.stats(names.data(2)).rows == 3


def test_columns_in_another_order_and_more_of_them_are_no_matter(store: LmdbOnline) -> None:
    bench = Bench(store)
    bench.add(events, frame([("a", 1, 1.0, 1, True, 0, 0)], 1))
    bench.online.materialize(VIEWS)
    more = frame([("a", 1, 2.0, 1, True, 1, 0), ("b", 1, 5.0, 1, True, 1, 0)], 2)
    bench.add(events, more)
    bench.online.apply_rows(VIEWS, events, more.select(reversed(more.columns)).with_columns(extra=1))
    asked = pl.DataFrame({"k": ["a", "b"], "n": [1, 1]})
    assert_frame_equal(bench.online.lookup(SERVICE, asked, np.full(2, 2)), bench.offline(SERVICE, asked, [2, 2]))
