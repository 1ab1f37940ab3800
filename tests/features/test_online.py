"""Online features: equal to the offline ones whatever way rows arrived, in one process or several."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from tests.features.tables import HOUR, UTC

from tidemill.core.clock import ManualClock
from tidemill.core.errors import InvalidArgument, InvalidData, NotFound, NotReady
from tidemill.core.scope import Scope
from tidemill.core.specs import aggregates as agg
from tidemill.core.specs.features import FeatureService, FeatureView, on_demand
from tidemill.core.specs.sources import Source
from tidemill.core.specs.windows import calendar
from tidemill.core.times import to_micros
from tidemill.features.offline import offline_features
from tidemill.features.online import Online
from tidemill.stores.online.lmdb import LmdbOnline
from tidemill.stores.online.memory import MemoryOnline
from tidemill.stores.online.protocol import OnlineStore

NOW = 1000 * HOUR


@dataclass
class Bench:
    """Tables in memory, and an online side over them."""

    store: OnlineStore = field(default_factory=MemoryOnline)
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    unique_ids: bool = False

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new process would begin like this."""
        scope = Scope("p", "me", ManualClock(NOW))
        self.online = Online(scope, read=self.read, store=self.store, unique_ids=self.unique_ids)

    def read(self, source: Source) -> pl.LazyFrame:
        if source.name not in self.tables:
            raise NotFound(f"source {source.name!r} has no rows yet")
        return self.tables[source.name].lazy()

    def add(self, source: Source, rows: pl.DataFrame) -> None:
        before = self.tables.get(source.name)
        self.tables[source.name] = rows if before is None else pl.concat([before, rows])

    def offline(self, service: FeatureService, rows: pl.DataFrame, t: list[int], **options: Any) -> pl.DataFrame:
        spine = rows.with_columns(t=pl.Series(t, dtype=pl.Int64))
        found = offline_features(service, spine, "t", self.read, unique_ids=self.unique_ids, **options)
        return found.drop(spine.columns)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def stamped(
    rows: dict[str, Any], at: list[int | None], created: list[int | None] | None = None, first: int = 1
) -> pl.DataFrame:
    """Rows with system columns."""
    return pl.DataFrame(rows).with_columns(
        at=pl.Series(at, dtype=pl.Int64).cast(UTC),
        event_ts=pl.Series(at, dtype=pl.Int64).cast(UTC),
        created_ts=pl.Series(created or at, dtype=pl.Int64).cast(UTC),
        ingest_seq=pl.Series(range(first, first + len(at)), dtype=pl.Int64),
    )


weather = Source("weather", time="at")
temp = FeatureView(lambda rows: rows.select("temp"), source=weather, keys="place", ttl=3 * HOUR, name="temp")
temps = FeatureView(
    None, source=weather, keys="place", aggregates=[agg.mean("temp", over=[HOUR, 5 * HOUR])], name="temps"
)
both = FeatureService([temp, temps], name="both")


def some_weather(first: int = 1) -> pl.DataFrame:
    return stamped({"place": ["a", "a", "b"], "temp": [1.0, 3.0, 2.0]}, [HOUR, 3 * HOUR, 2 * HOUR], first=first)


# -- equal to offline ------------------------------------------------------------------------------

events = Source("events", time="at", id="number")
plain = Source("events", time="at")
late = Source("events", time="at", delay=2)

_OPERATIONS: list[Callable[..., Any]] = [
    agg.count, agg.unique_count, agg.sum, agg.mean, agg.min, agg.max, agg.first, agg.last, agg.stddev, agg.variance,
]  # fmt: skip
_WINDOWS: list[dict[str, Any]] = [
    {"over": [3, 8]}, {"over": None}, {"over": 5, "offset": 2}, {"over": 6, "hop": 4}, {"over": 6, "hop": 4, "mode": "hopping"},
]  # fmt: skip


_NEW_WINDOWS: list[dict[str, Any]] = [
    {"over": 7}, {"over": 6, "hop": 4}, {"over": 4, "mode": "tumbling"},
    {"over": [calendar("month", "UTC"), calendar("day", "UTC", complete=True)]},
]  # fmt: skip


def ewma(column: str, **window: Any) -> agg.Aggregate:
    return agg.ewma(column, half_life=4, **window)


def quantile(column: str, **window: Any) -> agg.Aggregate:
    return agg.approx_quantile(column, 0.7, exact_up_to=2, **window)


def registers(column: str, **window: Any) -> agg.Aggregate:
    return agg.approx_unique_count(column, precision=5, **window)


def rate(column: str, **window: Any) -> agg.Aggregate:
    return agg.rate(column, per=3, **window)


def sum_rate(column: str, **window: Any) -> agg.Aggregate:
    return agg.rate(column, of="sum", per=3, **window)


_NEW: list[Callable[..., Any]] = [agg.median, agg.mode, ewma, quantile, registers, rate, sum_rate]


def windowed(
    source: Source, column: str, operations: list[Callable[..., Any]], windows: list[dict[str, Any]] = _WINDOWS,
    where: pl.Expr | None = None, **options: Any,
) -> FeatureView:  # fmt: skip
    aggregates = [
        operation(column, name=f"{operation.__name__}{place}", where=where, **window)
        for operation in operations
        for place, window in enumerate(windows)
    ]
    aggregates += [agg.first_k(column, 2, over=8), agg.last_k(column, 3, over=8)]
    return FeatureView(None, source=source, keys=["k", "n"], aggregates=aggregates, **options)


_ANY = [agg.count, agg.unique_count, agg.min, agg.max, agg.first, agg.last]
VIEWS = [
    FeatureView(lambda rows: rows.select("x", "i", "b", "when"), source=plain, keys=["k", "n"], ttl=6, name="state"),
    FeatureView(lambda rows: rows.select("x", "s", "b"), source=plain, keys="k", name="texts"),
    FeatureView(lambda rows: rows.select("i"), source=late, keys="n", ttl=5, name="late_state"),
    FeatureView(lambda rows: rows.select("i", "s"), source=late, keys="n", known_at=True, name="late_known"),
    FeatureView(lambda rows: rows.select("i"), source=plain, keys="n", known_at=True, name="known_state"),
    windowed(plain, "x", _OPERATIONS, name="floats"),
    windowed(late, "i", _OPERATIONS, name="integers"),
    windowed(events, "b", _OPERATIONS, name="booleans"),
    windowed(events, "s", _ANY, name="strings", known_at=True),
    windowed(plain, "when", _ANY, name="times", known_at=True),
]
MORE = [
    windowed(late, "x", _NEW, _NEW_WINDOWS, name="more_floats"),
    windowed(events, "i", _NEW, _NEW_WINDOWS, name="more_integers", known_at=True),
    windowed(plain, "i", [agg.sum, agg.mean, agg.last], _NEW_WINDOWS, name="old_integers"),
    windowed(plain, "s", [agg.mode, registers, rate], _NEW_WINDOWS, name="more_strings"),
    windowed(plain, "x", [agg.count, agg.mean, agg.median, rate], _NEW_WINDOWS, where=pl.col("i") > 0, name="some"),
    FeatureView(None, source=events, keys="k", name="categories", aggregates=[
        agg.sum("x", over=[5, 9], by="s", categories=["p", "q"]), agg.count("i", by="b", categories=[True, False]),
        agg.last("s", over=9, by="n", categories=[1, 7], where=pl.col("x").is_not_null()),
        agg.mode("when", over=9), registers("when", over=9), ewma("x"), quantile("x"),
    ]),
]  # fmt: skip

_times = st.integers(-12, 12)
_event = st.fixed_dictionaries({
    "k": st.sampled_from(["a", "a", "a", "", None]), "n": st.sampled_from([1, 1, 1, 11, None]),
    "number": st.sampled_from([0, 1, 2, 3, None]), "x": st.sampled_from([None, 0.1, -2.5, 1e16, float("nan"), 3.0, -1e16]),
    "i": st.none() | st.integers(-5, 5), "b": st.none() | st.booleans(), "s": st.sampled_from([None, "p", "q", ""]),
    "when": st.none() | st.integers(-9, 9), "at": st.none() | _times, "created": st.none() | _times,
})  # fmt: skip
_question = st.tuples(st.sampled_from(["a", "a", "a", "", None, "z"]), st.sampled_from([1, 1, 1, 11, None]), _times)
SCHEMA = {
    "k": pl.String,
    "n": pl.Int64,
    "number": pl.Int64,
    "x": pl.Float64,
    "i": pl.Int64,
    "b": pl.Boolean,
    "s": pl.String,
}


def frame(rows: list[dict[str, Any]], first: int) -> pl.DataFrame:
    values = {name: pl.Series([row[name] for row in rows], dtype=dtype) for name, dtype in SCHEMA.items()}
    values["when"] = pl.Series([row["when"] for row in rows], dtype=pl.Int64).cast(pl.Datetime("ms"))
    return stamped(values, [row["at"] for row in rows], [row["created"] for row in rows], first)


def same(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    assert_frame_equal(found, expected, check_exact=False, rel_tol=1e-9, abs_tol=1e-12)


_deliveries = st.lists(
    st.tuples(st.lists(_event, min_size=1, max_size=25), st.sampled_from(["push", "file", "both"])),
    min_size=1,
    max_size=4,
)
_questions = st.lists(_question, min_size=1, max_size=12)
_quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.mark.parametrize("known", [False, True])
@settings(suppress_health_check=_quiet, max_examples=20)
@given(deliveries=_deliveries, questions=_questions)
def test_online_equals_offline_whatever_way_rows_arrive(
    tmp_path_factory: pytest.TempPathFactory, known: bool, deliveries: Any, questions: Any
) -> None:
    arrive_and_compare(LmdbOnline(tmp_path_factory.mktemp("online")), VIEWS, known, deliveries, questions)


@settings(suppress_health_check=_quiet, max_examples=8)
@given(known=st.booleans(), deliveries=_deliveries, questions=_questions)
def test_every_other_aggregate_and_window_is_equal_too(known: bool, deliveries: Any, questions: Any) -> None:
    arrive_and_compare(MemoryOnline(), MORE, known, deliveries, questions)


def arrive_and_compare(
    store: OnlineStore, views: list[FeatureView], known: bool, deliveries: Any, questions: Any
) -> None:
    bench = Bench(store)
    service = FeatureService(views, name="everything")
    first = 1
    for rows, how in deliveries:
        delivered = frame(rows, first)
        first += len(rows)
        bench.add(plain, delivered)
        if how != "file":
            for view in views:
                bench.online.apply_rows([view], view.source, delivered)
            bench.online.apply_rows(views, plain, delivered.reverse())
        if how != "push":
            bench.online.materialize(views)
        bench.restart()
    bench.online.materialize(views)
    asked = pl.DataFrame(
        {"k": [q[0] for q in questions], "n": [q[1] for q in questions]}, schema={"k": pl.String, "n": pl.Int64}
    )
    t = [q[2] for q in questions]
    found = bench.online.lookup(service, asked, np.array(t, np.int64), known_at=known)
    expected = bench.offline(service, asked, t, known_at=known)
    same(found, expected)
    for place, question in enumerate(questions[:3]):
        vector = bench.online.vector(service, {"k": question[0], "n": question[1]}, question[2], known_at=known)
        same(pl.DataFrame([vector], schema=expected.schema), expected[place])
    store.close()


def test_an_event_reported_again_counts_at_its_first_report(tmp_path: Path) -> None:
    store = LmdbOnline(tmp_path)
    bench = Bench(store)
    reported = Source("reported", time="at", id=["day", "number"])
    counted = FeatureView(None, source=reported, keys="place", name="counted",
                          aggregates=[agg.count("temp", over=10, name="f")])  # fmt: skip
    read = FeatureView(None, source=reported, keys="place", name="read",
                       aggregates=[agg.last("temp", over=10, name="f")])  # fmt: skip
    service = FeatureService([counted, read], name="s")
    reports = [("m", 1, 100, 5.0), ("m", 2, 101, 6.0), ("m", 1, 105, 7.0), (None, 1, 106, 8.0), (None, 1, 107, 9.0)]
    asked = pl.DataFrame({"place": ["a"] * 4})
    t = [103, 108, 112, 118]
    bench.add(reported, stamped({"place": ["z"], "day": ["m"], "number": [1], "temp": [0.0]}, [100]))
    bench.online.materialize([counted, read])
    for step, (day, number, at, value) in enumerate(reports):
        row = stamped({"place": ["a"], "day": [day], "number": [number], "temp": [value]}, [at], first=step + 2)
        bench.add(reported, row.cast(bench.tables["reported"].schema))
        bench.online.apply_rows([counted, read], reported, row.cast(bench.tables["reported"].schema))
    found = bench.online.lookup(service, asked, np.array(t))
    same(found, bench.offline(service, asked, t))
    assert found["counted__f"].to_list() == [2, 4, 2, 0]
    assert found["read__f"].to_list() == [6.0, 9.0, 9.0, None]
    again = stamped({"place": ["a"], "day": ["m"], "number": [2], "temp": [1.0]}, [90], first=20)
    bench.add(reported, again)
    bench.online.materialize([counted, read])  # the first report arrives last: the event leaves the windows
    same(bench.online.lookup(service, asked, np.array(t)), bench.offline(service, asked, t))
    assert bench.online.lookup(service, asked, np.array(t))["counted__f"].to_list() == [1, 3, 2, 0]
    store.close()


def test_where_ids_are_unique_nothing_is_kept_to_recognize_them() -> None:
    counted = windowed(events, "i", [agg.count, agg.sum, agg.last], name="counted")
    service = FeatureService([counted], name="unique")
    rows = stamped({"k": ["a"] * 4, "n": [1] * 4, "number": [1, 2, 3, None], "i": [5, 6, 7, 8]}, [1, 3, 3, 9])
    asked, t = pl.DataFrame({"k": ["a"] * 4, "n": [1] * 4}), [2, 4, 10, 30]
    found = []
    for unique in (False, True):
        bench = Bench(unique_ids=unique)
        bench.add(events, rows[:2])
        bench.online.materialize([counted])
        bench.add(events, rows[2:])
        bench.online.apply_rows([counted], events, rows[2:])
        online = bench.online.lookup(service, asked, np.array(t))
        assert_frame_equal(online, bench.offline(service, asked, t))
        found.append(online)
        with bench.store.read() as reader:
            assert any("reports" in view for view in reader.views()) is not unique
    assert_frame_equal(*found)


def test_sums_keep_their_digits(bench: Bench) -> None:
    values = [1e16, 1.0, 1.0, -1e16, 3.0]
    rows = stamped({"place": ["a"] * 5, "temp": values}, [1, 2, 3, 4, 5])
    bench.add(weather, rows)
    view = FeatureView(None, source=weather, keys="place", name="v",
                       aggregates=[agg.sum("temp", over=[10, 5]), agg.mean("temp", over=5)])  # fmt: skip
    bench.online.materialize([view])
    service = FeatureService([view], name="s")
    found = bench.online.lookup(service, pl.DataFrame({"place": ["a", "a"]}), np.array([5, 6]))
    assert found.row(0) == (2.0, 2.0, 0.5)
    assert found.row(1) == (5.0, 5.0, 1.0)


def test_a_sum_beyond_64_bits_is_an_error_and_a_mean_is_not(bench: Bench) -> None:
    bench.add(weather, stamped({"place": ["a"] * 3, "temp": [2**62, 2**62, 5]}, [1, 2, 3]))
    views = [
        FeatureView(None, source=weather, keys="place", name=name, aggregates=[make("temp", over=10)])
        for name, make in (("total", agg.sum), ("average", agg.mean))
    ]
    bench.online.materialize(views)
    row = pl.DataFrame({"place": ["a"]})
    with pytest.raises(InvalidData, match="64 bits"):
        bench.online.lookup(FeatureService(views[:1], name="t"), row, np.array([4]))
    service = FeatureService(views[1:], name="m")
    assert bench.online.lookup(service, row, np.array([4])).item() == pytest.approx((2**63 + 5) / 3)


def test_many_rows_across_many_chunks(tmp_path: Path) -> None:
    store = LmdbOnline(tmp_path)
    bench = Bench(store)
    random = np.random.default_rng(5)
    places = random.choice(["a", "b", "c"], 5000)
    rows = stamped({"place": places, "temp": random.normal(size=5000)}, random.integers(0, 400 * HOUR, 5000).tolist())
    bench.add(weather, rows[:3000])
    bench.online.materialize([temp, temps])
    bench.add(weather, rows[3000:])
    for part in rows[3000:].iter_slices(100):
        bench.online.apply_rows([temp, temps], weather, part)
    asked = pl.DataFrame({"place": random.choice(["a", "b", "c", "d"], 300)})
    t = random.integers(0, 420 * HOUR, 300)
    same(bench.online.lookup(both, asked, t), bench.offline(both, asked, t.tolist()))
    assert [f.rows for f in bench.online.freshness([temp, temps])] == [5000, 5000]
    store.close()


# -- materializing ---------------------------------------------------------------------------------


def test_only_new_rows_are_read_and_rows_that_surface_late_are_found(bench: Bench) -> None:
    rows = some_weather()
    bench.add(weather, rows[[0, 2]])  # the second writer's rows are there before the first one's
    assert [m.rows for m in bench.online.materialize([temp])] == [2]
    assert [m.rows for m in bench.online.materialize([temp])] == [0]
    bench.restart()
    bench.add(weather, rows[[1]])
    assert [(m.view, m.rows) for m in bench.online.materialize([temp])] == [("temp", 1)]
    row = pl.DataFrame({"place": ["a"]})
    assert bench.online.lookup(FeatureService([temp], name="s"), row, np.array([3 * HOUR])).item() == 3.0


def test_a_view_that_is_not_there_yet(bench: Bench) -> None:
    service, row = FeatureService([temp], name="s"), pl.DataFrame({"place": ["a"]})
    assert bench.online.materialize([temp]) == []
    with pytest.raises(NotReady, match="'temp' is not in the online store"):
        bench.online.lookup(service, row, np.array([0]))
    assert bench.online.apply_rows([temp], weather, some_weather()) == 0
    assert bench.online.freshness([temp])[0].rows == 0
    bench.add(weather, some_weather()[:0])
    bench.online.materialize([temp])
    assert bench.online.lookup(service, row, np.array([HOUR])).item() is None
    assert bench.online.apply_rows([temp], weather, some_weather()) == 3
    assert bench.online.lookup(service, row, np.array([HOUR])).item() == 1.0


def test_a_rebuild_takes_over_and_a_changed_view_stands_beside_the_old_one(bench: Bench) -> None:
    bench.add(weather, some_weather())
    bench.online.materialize([temp])
    service, row, t = FeatureService([temp], name="s"), pl.DataFrame({"place": ["a"]}), np.array([3 * HOUR])
    bench.online.lookup(service, row, t)
    bench.tables["weather"] = some_weather().with_columns(temp=pl.col("temp") * 10)
    assert [m.rows for m in bench.online.materialize([temp], full=True)] == [3]
    assert bench.online.lookup(service, row, t).item() == 30.0
    changed = FeatureView(lambda rows: rows.select("temp"), source=weather, keys="place", ttl=HOUR, name="temp")
    new = FeatureService([changed], name="s")
    with pytest.raises(NotReady):
        bench.online.lookup(new, row, t + 2 * HOUR)
    bench.online.materialize([changed])
    assert bench.online.lookup(new, row, t + 2 * HOUR).item() is None
    assert bench.online.lookup(service, row, t + 2 * HOUR).item() == 30.0
    assert bench.online.forget([(temp.name, temp.digest())])
    assert bench.online.forget([(temp.name, temp.digest())]) == []
    with pytest.raises(NotReady):
        bench.online.lookup(service, row, t)
    assert bench.online.lookup(new, row, t).item() == 30.0


def test_new_columns_of_the_source_rebuild_a_view_that_shows_them(bench: Bench) -> None:
    view = FeatureView(None, source=weather, keys="place", name="all")
    service, row, t = FeatureService([view], name="s"), pl.DataFrame({"place": ["a"]}), np.array([3 * HOUR])
    bench.add(weather, some_weather())
    bench.online.materialize([view])
    assert bench.online.lookup(service, row, t).row(0, named=True) == {"all__temp": 3.0}
    bench.tables["weather"] = bench.tables["weather"].with_columns(rain=pl.Series(["n", "y", "n"]))
    bench.online.materialize([view])
    assert bench.online.lookup(service, row, t).row(0, named=True) == {"all__temp": 3.0, "all__rain": "y"}


def test_freshness_and_trim(bench: Bench) -> None:
    watched = FeatureView(None, source=weather, keys="place", target="2h", name="w",
                          aggregates=[agg.count("temp", over="2h")])  # fmt: skip
    bench.add(weather, stamped({"place": ["a"] * 4, "temp": [1.0] * 4}, [NOW - h * HOUR for h in (9, 6, 3, 1)]))
    bench.online.materialize([watched])
    fresh = bench.online.freshness([watched])[0]
    assert (fresh.rows, fresh.newest, fresh.lag, fresh.stale) == (4, NOW - HOUR, HOUR, False)
    assert bench.online.trim([watched], lateness="3h") == 2
    assert bench.online.freshness([watched])[0].rows == 2
    bench.online = Online(Scope("p", "me", ManualClock(NOW + 2 * HOUR)), read=bench.read,
                          store=bench.store)  # fmt: skip
    assert bench.online.freshness([watched])[0].stale


def test_days_of_a_calendar_and_what_is_forgotten(bench: Bench) -> None:
    start, stop = to_micros("1969-12-20"), to_micros("1970-01-05")
    winter = [(at, "1970") for at in range(start, stop, HOUR)]
    spring = [(at, "2024") for at in range(to_micros("2024-03-25"), to_micros("2024-04-04"), HOUR)]
    rows = winter + spring
    bench.add(
        weather, stamped({"place": [place for _, place in rows], "temp": [1.0] * len(rows)}, [at for at, _ in rows])
    )
    days = [calendar("day", "Europe/Berlin"), calendar("day", "Europe/Berlin", complete=True),
            calendar("week", "Europe/Berlin"), calendar("month", "Europe/Berlin", complete=True)]  # fmt: skip
    view = FeatureView(None, source=weather, keys="place", aggregates=[agg.count("temp", over=days)], name="v")
    service = FeatureService([view], name="s")
    bench.online.materialize([view])
    noon = ["2024-03-31T12:00+02:00", "2024-04-01T12:00+02:00", "2024-04-02T00:00+02:00", "1970-01-01T12:00+01:00"]
    asked = pl.DataFrame({"place": ["2024", "2024", "2024", "1970"]})
    t = np.array([to_micros(text) for text in noon])
    found = bench.online.lookup(service, asked, t)
    same(found, bench.offline(service, asked, t.tolist()))
    # Today so far, yesterday, this week so far, last month; the rows of 2024 begin at 1 o'clock of Monday in Berlin.
    assert found.rows() == [
        (11, 24, 6 * 24 + 10, 0),  # clocks went from 2 to 3 in the morning
        (12, 23, 12, 6 * 24 + 22),
        (0, 24, 24, 6 * 24 + 22),
        (12, 24, 84, 11 * 24 + 23),
    ]
    bench.online = Online(Scope("p", "me", ManualClock(int(t[2]))), read=bench.read, store=bench.store)
    assert bench.online.trim([view], lateness=0) == len(winter) - 1  # all but the newest of its key
    assert bench.online.lookup(service, asked[:3], t[:3]).rows() == found.rows()[:3]


# -- requests --------------------------------------------------------------------------------------


def test_on_demand_features_and_vectors(bench: Bench) -> None:
    @on_demand
    def twice(rows: Any) -> Any:
        return rows.select(twice=pl.col("x") * 2)

    service = FeatureService([twice, temp, temp.on(place="dest").prefix("dest_")], name="s")
    bench.add(weather, some_weather())
    bench.online.materialize([temp])
    rows = pl.DataFrame({"place": ["a", None], "dest": ["b", "a"], "x": [1, 2]})
    found = bench.online.lookup(service, rows, pl.Series([3 * HOUR] * 2))
    assert found.rows(named=True) == [
        {"twice": 2, "temp__temp": 3.0, "dest_temp__temp": 2.0},
        {"twice": 4, "temp__temp": None, "dest_temp__temp": 3.0},
    ]
    keys = {"place": "a", "dest": "b"}
    assert bench.online.vector(service, keys, 3 * HOUR) == {"temp__temp": 3.0, "dest_temp__temp": 2.0}
    assert bench.online.vector(service, {**keys, "x": 5}, 3 * HOUR)["twice"] == 10
    assert bench.online.vector(service, keys)["temp__temp"] is None  # the clock is far beyond the ttl


def test_requests_that_do_not_fit(bench: Bench) -> None:
    bench.add(weather, some_weather())
    bench.online.materialize([temp, temps])
    with pytest.raises(NotFound, match="'place'"):
        bench.online.lookup(both, pl.DataFrame({"x": [1]}), np.array([1]))
    with pytest.raises(InvalidArgument, match="the same type"):
        bench.online.lookup(both, pl.DataFrame({"place": [1]}), np.array([1]))
    with pytest.raises(InvalidArgument, match="2 moments for 1 rows"):
        bench.online.lookup(both, pl.DataFrame({"place": ["a"]}), np.array([1, 2]))
    with pytest.raises(InvalidData, match="prediction_time"):
        bench.online.lookup(both, pl.DataFrame({"place": ["a"]}), pl.Series([None], dtype=pl.Int64))
    empty = bench.online.lookup(both, pl.DataFrame(schema={"place": pl.String}), np.empty(0, np.int64))
    assert empty.schema == bench.offline(both, pl.DataFrame(schema={"place": pl.String}), []).schema


def test_a_number_too_large_for_a_key_is_that_of_no_row(bench: Bench) -> None:
    numbered = FeatureView(lambda rows: rows.select("temp"), source=weather, keys="number", name="numbered")
    service = FeatureService([numbered], name="of_numbered")
    bench.add(weather, stamped({"number": [1, 2], "temp": [1.0, 2.0]}, [HOUR, HOUR]))
    bench.online.materialize([numbered])
    found = [bench.online.vector(service, {"number": number}) for number in (1, 2**63 - 1, 2**63, -(2**70), 2)]
    assert [one["numbered__temp"] for one in found] == [1.0, None, None, None, 2.0]


# -- processes -------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.features.test_online import Bench, some_weather, temp, temps, weather, stamped, HOUR, LmdbOnline
home = Path(sys.argv[1])
bench = Bench(LmdbOnline(home / "online"))
for step in range(1, int(sys.argv[3]) + 1):
    rows = stamped({"place": ["a", "b"], "temp": [float(step)] * 2}, [step * HOUR] * 2, first=2 * step + 100)
    bench.online.apply_rows([temp, temps], weather, rows)
    print(step, flush=True)
"""


def test_one_process_pushes_while_another_answers(tmp_path: Path) -> None:
    store = LmdbOnline(tmp_path / "online")
    bench = Bench(store)
    bench.add(weather, some_weather()[:0])
    bench.online.materialize([temp, temps])
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", WRITER, str(tmp_path), root, "60"]
    service, rows = FeatureService([temp], name="s"), pl.DataFrame({"place": ["a", "b"]})
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        for line in writer.stdout or ():
            step = int(line)
            found = bench.online.lookup(service, rows, np.array([step * HOUR] * 2))
            assert found["temp__temp"].to_list() == [float(step)] * 2  # acknowledged is there, for both keys
    assert writer.returncode == 0
    fresh = bench.online.freshness([temp, temps])
    assert [f.rows for f in fresh] == [120, 120]
    store.close()
