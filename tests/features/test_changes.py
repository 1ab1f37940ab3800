"""Change logs (R10): rows come and go, and offline, online and the oracle agree on what is live at any moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from tests.features.agreement import of_oracle
from tests.features.tables import HOUR, UTC, Tables, keep
from tests.features.test_online import NOW, Bench

from tidemill.core.clock import ManualClock
from tidemill.core.errors import InvalidArgument, InvalidData, NotFound
from tidemill.core.scope import Scope
from tidemill.core.specs import aggregates as agg
from tidemill.core.specs.changes import Changes
from tidemill.core.specs.definition import Definitions
from tidemill.core.specs.features import FeatureService, FeatureView, Label
from tidemill.core.specs.sources import Source
from tidemill.core.specs.windows import calendar
from tidemill.features.catalog import Catalog
from tidemill.features.online import Online
from tidemill.features.rows import view_rows
from tidemill.features.training import TrainingSets
from tidemill.stores.online.lmdb import LmdbOnline
from tidemill.stores.online.memory import MemoryOnline
from tidemill.testing import oracle

log = Source("log", time="at", created="changed", id="change", changes=Changes())
late = Source("log", time="at", created="changed", id="change", changes=Changes(), delay=2)

Make = Callable[..., agg.Aggregate]
_ANY: list[Make] = [agg.count, agg.unique_count, agg.min, agg.max, agg.first, agg.last]
_NUMERIC: list[Make] = [*_ANY, agg.sum, agg.mean, agg.stddev]
_WINDOWS: list[dict[str, Any]] = [{"over": 5}, {"over": None}, {"over": 6, "hop": 4, "mode": "hopping", "offset": 1}]


def windowed(source: Source, column: str, operations: list[Make], name: str) -> FeatureView:
    made = [make(column, name=f"{make.__name__}{n}", **w) for make in operations for n, w in enumerate(_WINDOWS)]
    made += [agg.first_k(column, 2, over=8, name="first_k"), agg.last_k(column, 2, over=8, name="last_k")]
    return FeatureView(None, source=source, keys=["k", "n"], aggregates=made, name=name)


VIEWS = {
    "float": windowed(log, "x", _NUMERIC, "floats"),
    "text": windowed(late, "s", _ANY, "texts"),
    "more": FeatureView(
        None,
        source=log,
        keys=["k", "n"],
        name="more",
        aggregates=[
            agg.median("x", over=5),
            agg.mode("x", over=4, mode="tumbling"),
            agg.rate("x", over=6, per=2),
            agg.ewma("x", half_life=3),
            agg.count("x", over=calendar("day", "UTC")),
            agg.approx_quantile("x", 0.5, over=9),
            agg.sum("x", over=9, by="s", categories=["p", "q"]),
            agg.last("x", over=9, where=pl.col("s").is_null(), name="last"),
        ],
    ),
    "state": FeatureView(lambda rows: rows.select("x"), source=log, keys=["k", "n"], ttl=5, name="state"),
    "text_state": FeatureView(lambda rows: rows.select("s"), source=late, keys=["k", "n"], name="text_state"),
}
EVERYTHING = FeatureService(list(VIEWS.values()), name="everything")

# Few keys, times and rows: rows that are alike, ties, and removals of what is not there (yet) are common.
_times = st.integers(-6, 6)
_row = st.tuples(
    st.sampled_from(["a", "a", "a", "b", None]), st.sampled_from([1, 1, 1, 11]), st.integers(-3, 3),
    st.sampled_from([None, 0.5, 3.0, float("nan")]), st.sampled_from([None, "p", "q"]),
)  # fmt: skip
_question = st.tuples(st.sampled_from(["a", "a", "b", None]), st.sampled_from([1, 1, 11]), _times)
Image = tuple[tuple[Any, ...], int | None, str]
"""The row; when the change was known; `+` or `-`."""


@st.composite
def images(draw: st.DrawFn) -> list[Image]:
    """Inserts, updates (of value or key) and deletes, some of what never was, in any order of arrival."""
    found: list[Image] = []
    rows = st.sampled_from(draw(st.lists(_row, min_size=1, max_size=4)))
    for _ in range(draw(st.integers(1, 12))):
        kind, known = draw(st.sampled_from(["insert", "insert", "update", "delete"])), draw(_times)
        found += [(draw(rows), known, "-")] if kind != "insert" else []
        found += [(draw(rows), known, "+")] if kind != "delete" else []
    if draw(st.booleans()):
        found.append((draw(rows), None, "+"))
    return draw(st.permutations(found))


def table(found: list[Image], first: int = 1) -> pl.DataFrame:
    rows = [row for row, _, _ in found]
    known = pl.Series([known for _, known, _ in found], dtype=pl.Int64).cast(UTC)
    at = pl.Series([row[2] for row in rows], dtype=pl.Int64).cast(UTC)
    return pl.DataFrame({
        "k": pl.Series([row[0] for row in rows], dtype=pl.String), "n": pl.Series([row[1] for row in rows], dtype=pl.Int64),
        "x": pl.Series([row[3] for row in rows], dtype=pl.Float64), "s": pl.Series([row[4] for row in rows], dtype=pl.String),
        "at": at, "changed": known, "change": pl.Series(range(first, first + len(rows)), dtype=pl.Int64),
        "op": [op for _, _, op in found], "event_ts": at, "created_ts": known,
        "ingest_seq": pl.Series(range(first, first + len(rows)), dtype=pl.Int64),
    })  # fmt: skip


def expected(found: list[Image], view: FeatureView, place: int, key: tuple[Any, Any], t: int) -> dict[str, Any]:
    """What the oracle says of a view over one column of the rows."""
    delay = view.source.delay_micros

    # A view with filters tells rows apart by the text it filters by; the others do not see it.
    seen = any(a.where is not None or a.by is not None for a in view.aggregates)
    rows = [
        (oracle.Row((row[0], row[1]), row[2], known, seq, (row[place], row[4] if seen else "")), op == "+")
        for seq, (row, known, op) in enumerate(found, 1)
    ]

    def live(counts: Callable[[Any], bool]) -> list[oracle.Row]:
        return [row._replace(value=row.value[0] if counts(row.value[1]) else None) for row in oracle.live(rows, t)]

    if not view.is_windowed:
        state = oracle.state(live(lambda s: True), key, t, ttl=view.ttl_micros, delay=delay)
        return {"x" if place == 3 else "s": None if state is None else state.value}
    return {
        name: oracle.aggregate(live(condition_of(a)), key, t, a.operation, k=a.k, delay=delay, arguments=a.arguments,
                               **of_oracle(w))
        for a in view.aggregates for name, w in a.features()
    }  # fmt: skip


def condition_of(aggregate: agg.Aggregate) -> Callable[[Any], bool]:
    """Which texts of a row an aggregate is over."""
    if aggregate.by is not None:
        return lambda s: s == aggregate.categories[0]
    return (lambda s: True) if aggregate.where is None else (lambda s: s is None)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=20)
@given(found=images(), questions=st.lists(_question, min_size=1, max_size=6), lmdb=st.booleans(), data=st.data())
def test_offline_online_and_the_oracle_agree(
    tmp_path_factory: pytest.TempPathFactory, found: list[Image], questions: list[Any], lmdb: bool, data: st.DataObject
) -> None:
    store = LmdbOnline(tmp_path_factory.mktemp("online")) if lmdb else MemoryOnline()
    bench = Bench(store)
    rows = table(found)
    cut = data.draw(st.integers(0, rows.height))
    bench.add(log, rows[:cut])
    bench.online.materialize(list(VIEWS.values()))
    bench.add(log, rows[cut:])
    for view in VIEWS.values():
        bench.online.apply_rows([view], view.source, rows[cut:].reverse())
    asked = pl.DataFrame([q[:2] for q in questions], schema={"k": pl.String, "n": pl.Int64}, orient="row")
    t = [q[2] for q in questions]
    offline = bench.offline(EVERYTHING, asked, t)
    online = bench.online.lookup(EVERYTHING, asked, np.array(t, np.int64))
    assert_frame_equal(online, offline, check_exact=False, rel_tol=1e-9, abs_tol=1e-12)
    for place, (k, n, moment) in enumerate(questions):
        wanted = {
            use.full_name(feature): value
            for use, column in zip(EVERYTHING.uses, (3, 4, 3, 3, 4), strict=True)
            for feature, value in expected(found, use.view, column, (k, n), moment).items()
        }
        right = pl.DataFrame([wanted], schema=offline.schema)
        assert_frame_equal(offline[place], right, check_exact=False, rel_tol=1e-9, abs_tol=1e-12)
    k, n, moment = questions[0]
    vector = bench.online.vector(EVERYTHING, {"k": k, "n": n}, moment)
    assert_frame_equal(pl.DataFrame([vector], schema=offline.schema), online[0], check_exact=False, rel_tol=1e-9)
    store.close()


# -- by example ------------------------------------------------------------------------------------

ratings = Source("ratings", time="at", created="changed", changes=Changes())
best = FeatureView(None, source=ratings, keys="place", name="best",
                   aggregates=[agg.max("stars", over="10h", name="max"), agg.count("stars", over="10h", name="n")])  # fmt: skip


def changes(*rows: tuple[str, str, int, int, int], first: int = 1) -> pl.DataFrame:
    """Op, place, stars, hour of the rating, hour of the change."""
    frame = pl.DataFrame(rows, schema=["op", "place", "stars", "at", "changed"], orient="row")
    hours = [(pl.col(name) * HOUR).cast(UTC).alias(name) for name in ("at", "changed")]
    return frame.with_columns(hours).with_columns(
        event_ts="at", created_ts="changed", ingest_seq=pl.int_range(first, first + pl.len(), dtype=pl.Int64)
    )


def test_a_row_counts_from_when_it_became_live_until_it_was_removed_or_left_the_window() -> None:
    bench = Bench()
    bench.add(ratings, changes(("+", "a", 5, 1, 2), ("+", "a", 3, 2, 2), ("-", "a", 5, 1, 6), ("+", "b", 5, 1, 6)))
    bench.online.materialize([best])
    service = FeatureService([best], name="service")
    asked = pl.DataFrame({"place": ["a", "a", "a", "a", "b"]})
    t = [1 * HOUR, 5 * HOUR, 6 * HOUR, 13 * HOUR, 6 * HOUR]
    found = bench.online.lookup(service, asked, np.array(t))
    assert found["best__max"].to_list() == [None, 5, 3, None, 5]
    assert found["best__n"].to_list() == [0, 2, 1, 0, 1]
    assert_frame_equal(found, bench.offline(service, asked, t))


def test_a_removal_of_something_unknown_has_no_effect_and_is_counted() -> None:
    tables, counted = Tables(), list[Any]()
    rows = changes(("+", "a", 5, 1, 2), ("-", "a", 4, 1, 3), ("-", "b", 5, 1, 3), ("-", "a", 5, 1, 1))
    tables.versions["ratings"] = [rows]
    spine = Source("visits", time="t")
    tables.add(spine, pl.DataFrame({"place": ["a"], "t": [5 * HOUR]}))
    sets = TrainingSets(clock=ManualClock(NOW), reader=tables.reader, save=keep, counted=counted.append)
    service = FeatureService([best], name="service")
    kept: Any = sets.training_set(service=service, spine=spine, label=None, until=9 * HOUR)
    assert kept.frame["best__n"].to_list() == [1]
    assert counted == [{"rows": 1, "best: removes nothing": 3}]
    assert kept.facts["availability"] == "known"


def test_a_late_change_takes_its_place_in_the_order_of_changes() -> None:
    bench = Bench()
    bench.add(ratings, changes(("+", "a", 4, 1, 2), ("-", "a", 5, 1, 6)))
    bench.online.materialize([best])
    service, asked = FeatureService([best], name="service"), pl.DataFrame({"place": ["a"]})
    assert bench.online.lookup(service, asked, np.array([7 * HOUR]))["best__n"].item() == 1
    late_insert = changes(("+", "a", 5, 1, 3), first=3)
    bench.add(ratings, late_insert)
    bench.online.apply_rows([best], ratings, late_insert)
    for hour, stars in ((5, 5), (7, 4)):
        assert bench.online.lookup(service, asked, np.array([hour * HOUR]))["best__max"].item() == stars


def test_trimming_keeps_what_a_state_falls_back_to() -> None:
    view = FeatureView(lambda rows: rows.select("stars"), source=ratings, keys="place", name="newest")
    tables = changes(("+", "a", 4, 1, 2), ("+", "a", 5, 3, 3), ("-", "a", 5, 3, 4))
    found = Online(Scope("p", "me", ManualClock(NOW)), read=lambda source: tables.lazy(), store=MemoryOnline())
    found.materialize([view, best])
    assert found.trim([view, best], lateness="1h") == 2  # of the windows all but the newest; of the state nothing
    service = FeatureService([view], name="service")
    assert found.lookup(service, pl.DataFrame({"place": ["a"]}), np.array([9 * HOUR]))["newest__stars"].item() == 4


def test_a_transform_does_not_change_what_a_change_does() -> None:
    turned = FeatureView(lambda rows: rows.with_columns(op=pl.lit("+")), source=ratings, keys="place", name="turned",
                         aggregates=[agg.count("stars", name="n"), agg.first("op", name="op")])  # fmt: skip
    bench = Bench()
    bench.add(ratings, changes(("+", "a", 4, 1, 2), ("-", "a", 4, 1, 3)))
    bench.online.materialize([turned])
    service, asked = FeatureService([turned], name="service"), pl.DataFrame({"place": ["a", "a"]})
    t = [2 * HOUR, 3 * HOUR]
    found = bench.online.lookup(service, asked, np.array(t))
    assert found.rows() == [(1, "+"), (0, None)]
    assert_frame_equal(found, bench.offline(service, asked, t))


def test_a_table_that_is_no_change_log_is_refused() -> None:
    rows = changes(("u", "a", 4, 1, 2))
    with pytest.raises(InvalidData, match="column 'op' of change log 'ratings' holds 'u'"):
        view_rows(best, rows.schema).derive(rows.lazy())
    with pytest.raises(NotFound, match="says what a change is"):
        view_rows(best, rows.drop("op").schema)


def test_a_change_log_is_no_spine_and_has_no_labels() -> None:
    tables = Tables({"ratings": [changes(("+", "a", 5, 1, 2))]})
    sets = TrainingSets(clock=ManualClock(NOW), reader=tables.reader, save=keep)
    service = FeatureService([best], name="service")
    with pytest.raises(InvalidArgument, match="is a change log"):
        sets.training_set(service=service, spine=ratings, label=None, until=9 * HOUR)
    with pytest.raises(InvalidArgument, match="is a change log"):
        Label(log, pl.col("x"))
    catalog = Catalog(Definitions({("source", "ratings"): ratings}), tables.reader)
    assert catalog.spine(service) is None


def test_a_definition_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="one of them is not named"):
        Changes(before="before")
    with pytest.raises(InvalidArgument, match="names no kind of change"):
        Changes(words={"x": "upsert"})
    with pytest.raises(InvalidArgument, match="no time column"):
        Source("log", changes=Changes())
    with pytest.raises(InvalidArgument, match="not a description of changes"):
        Source("log", time="at", changes="op")  # type: ignore[arg-type]
