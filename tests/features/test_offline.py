from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.features.tables import HOUR, Tables

from tidemill.core.errors import InvalidArgument, InvalidData, NotFound, UserCodeError
from tidemill.core.specs import aggregates as agg
from tidemill.core.specs.features import FeatureService, FeatureView, on_demand
from tidemill.core.specs.sources import Source
from tidemill.features.offline import offline_features
from tidemill.features.offline import on_demand as on_demand_of
from tidemill.features.plan import plan_on_demand
from tidemill.testing import oracle

weather = Source("weather", time="at")
temp = FeatureView(lambda rows: rows.select("temp"), source=weather, keys="place", ttl=3 * HOUR, name="temp")


@pytest.fixture
def tables() -> Tables:
    tables = Tables()
    rows = {"place": ["a", "a", "b"], "at": [1 * HOUR, 3 * HOUR, 2 * HOUR], "temp": [1.0, 3.0, 2.0], "n": [1, 2, 3]}
    tables.add(weather, pl.DataFrame(rows))
    return tables


def ask(tables: Tables, parts: list[Any], spine: dict[str, Any], **options: Any) -> pl.DataFrame:
    return offline_features(FeatureService(parts, name="s"), pl.DataFrame(spine), "t", tables.scan, **options)


def test_rows_and_columns_of_the_spine_stay_as_they_are(tables: Tables) -> None:
    spine = {"place": ["b", "a", "a", None, "zz"], "t": [4 * HOUR] * 5, "extra": list("vwxyz")}
    found = ask(tables, [temp], spine)
    assert found.columns == ["place", "t", "extra", "temp__temp"]
    assert found.drop("temp__temp").equals(pl.DataFrame(spine))
    assert found["temp__temp"].to_list() == [2.0, 3.0, 3.0, None, None]


def test_the_ttl_is_inclusive_and_relative_to_the_row(tables: Tables) -> None:
    spine = {"place": "b", "t": [2 * HOUR - 1, 2 * HOUR, 5 * HOUR, 5 * HOUR + 1]}
    assert ask(tables, [temp], spine)["temp__temp"].to_list() == [None, 2.0, 2.0, None]


def test_a_view_under_other_keys_with_a_prefix(tables: Tables) -> None:
    spine = {"place": ["a"], "dest": ["b"], "t": [3 * HOUR]}
    found = ask(tables, [temp, temp.on(place="dest").prefix("dest_")], spine)
    assert found.select("temp__temp", "dest_temp__temp").row(0) == (3.0, 2.0)
    with pytest.raises(InvalidArgument, match=r"two features 'temp__temp'.*prefix"):
        ask(tables, [temp, temp.on(place="dest")], spine)
    with pytest.raises(InvalidArgument, match=r"'temp__temp' is also a column"):
        ask(tables, [temp], {"place": ["a"], "t": [HOUR], "temp__temp": [0]})


def test_times_in_any_shape_mean_the_same_moment(tables: Tables) -> None:
    aware = datetime(1970, 1, 1, 3, tzinfo=UTC)
    moment = aware.replace(tzinfo=None)
    columns = [
        pl.Series([3 * HOUR]), pl.Series([moment]), pl.Series([aware]), pl.Series([aware]).dt.convert_time_zone("Asia/Tokyo"),
        pl.Series([moment]).dt.cast_time_unit("ms"), pl.Series([moment]).dt.cast_time_unit("ns"),
    ]  # fmt: skip
    for column in columns:
        assert ask(tables, [temp], {"place": ["a"], "t": column})["temp__temp"].to_list() == [3.0]
    assert ask(tables, [temp], {"place": ["a"], "t": [date(1970, 1, 1)]})["temp__temp"].to_list() == [None]


def test_nanoseconds_before_1970_round_down() -> None:
    tables = Tables()
    tables.add(weather, pl.DataFrame({"place": ["a"], "at": [-1], "temp": [1.0]}))
    just_before = pl.Series([-1001, -1000], dtype=pl.Int64).cast(pl.Datetime("ns"))
    assert ask(tables, [temp], {"place": "a", "t": just_before})["temp__temp"].to_list() == [None, 1.0]


def test_a_key_of_another_type_is_an_error(tables: Tables) -> None:
    for wrong in ([1], [1.0], [True]):
        with pytest.raises(
            InvalidArgument, match="key 'place' of feature view 'temp' is String, but column 'place' is"
        ):
            ask(tables, [temp], {"place": wrong, "t": [HOUR]})
    by_number = FeatureView(lambda rows: rows.select("temp"), source=weather, keys="n", name="v")
    for wrong in (["1"], [1.0], [True]):
        with pytest.raises(InvalidArgument, match="Expected the same type"):
            ask(tables, [by_number], {"n": wrong, "t": [9 * HOUR]})
    for right in (pl.Series([2, None], dtype=pl.Int8), pl.Series([2, 2**40], dtype=pl.UInt64)):
        assert ask(tables, [by_number], {"n": right, "t": [9 * HOUR] * 2})["v__temp"].to_list() == [3.0, None]
    assert ask(tables, [by_number], {"n": pl.Series([None]), "t": [9 * HOUR]})["v__temp"].to_list() == [None]
    text = pl.Series(["a"], dtype=pl.Categorical)
    assert ask(tables, [temp], {"place": text, "t": [3 * HOUR]})["temp__temp"].to_list() == [3.0]


def test_what_is_missing_is_named(tables: Tables) -> None:
    with pytest.raises(NotFound, match=r"time column 't'"):
        offline_features(FeatureService([temp]), pl.DataFrame({"place": ["a"]}), "t", tables.scan)
    with pytest.raises(NotFound, match=r"key of feature view 'temp'.*'place'"):
        ask(tables, [temp], {"t": [HOUR]})
    with pytest.raises(InvalidData, match=r"1 of 2 rows have no 't'"):
        ask(tables, [temp], {"place": ["a", "a"], "t": [HOUR, None]})
    with pytest.raises(InvalidArgument, match="times"):
        ask(tables, [temp], {"place": ["a"], "t": ["noon"]})


def test_no_rows_no_answers_no_errors(tables: Tables) -> None:
    everything = FeatureView(None, source=weather, keys="place", name="w",
                             aggregates=[agg.mean("temp", over=1), agg.last_k("n", 2), agg.unique_count("n")])  # fmt: skip
    spine = pl.DataFrame(schema={"place": pl.String, "t": pl.Int64})
    found = offline_features(FeatureService([temp, everything]), spine, "t", tables.scan)
    assert found.shape == (0, 6)
    tables.add(weather, tables.scan(weather).collect().clear())
    found = ask(tables, [temp, everything], {"place": ["a"], "t": [HOUR]})
    assert found.row(0)[2:] == (None, None, [], 0)
    assert found.schema["w__n_last_k2_lifetime"] == pl.List(pl.Int64)


def test_on_demand_features_come_from_the_row_itself(tables: Tables) -> None:
    @on_demand
    def parts(rows: Any) -> Any:
        return rows.select("place", twice=pl.col("x") * 2)

    @on_demand
    def added(rows: Any) -> Any:
        return rows.with_columns(half=pl.col("x") / 2)

    found = ask(tables, [parts, temp, added], {"place": ["a", "b"], "t": [3 * HOUR] * 2, "x": [1, 2]})
    assert found.columns == ["place", "t", "x", "twice", "temp__temp", "half"]
    assert found.row(1) == ("b", 3 * HOUR, 2, 4, 2.0, 1.0)
    with pytest.raises(UserCodeError, match=r"on-demand transform 'parts' raised ColumnNotFoundError"):
        ask(tables, [parts], {"t": [1]})

    @on_demand
    def sorted_rows(rows: Any) -> Any:
        return rows.sort("x").select(y="x")

    with pytest.raises(InvalidArgument, match=r"'sorted_rows' does more than select"):
        ask(tables, [sorted_rows], {"t": [1], "x": [1]})


def test_a_delay_keeps_rows_back(tables: Tables) -> None:
    slow = Source("weather", time="at", delay="1h")
    latest = FeatureView(lambda rows: rows.select("temp"), source=slow, keys="place", name="l")
    counted = FeatureView(None, source=slow, keys="place", name="c", aggregates=[agg.count("temp", name="n")])
    spine = {"place": "a", "t": [2 * HOUR - 1, 2 * HOUR, 4 * HOUR]}
    found = ask(tables, [latest, counted], spine)
    assert found["l__temp"].to_list() == [None, 1.0, 3.0]
    assert found["c__n"].to_list() == [0, 1, 2]


def test_a_repeated_event_counts_once_for_its_key() -> None:
    source = Source("clicks", time="at", id="nr")
    tables = Tables()
    tables.add(
        source, pl.DataFrame({"who": [1, 1, 1, 2], "at": [5, 3, 8, 3], "nr": ["x", "x", None, "x"], "n": [1, 2, 4, 8]})
    )
    view = FeatureView(
        None, source=source, keys="who", name="v", aggregates=[agg.sum("n", name="s"), agg.sum("n", over=6, name="r")]
    )
    found = ask(tables, [view], {"who": [1, 2, 1], "t": [9, 9, 10]})
    assert found["v__s"].to_list() == [6, 8, 6]
    assert found["v__r"].to_list() == [
        6,
        8,
        4,
    ]  # at t = 10 the first report has left the window; the repeat does not return


moments = st.integers(0, 40)
told = st.tuples(st.sampled_from("ab"), moments, st.none() | moments, st.integers(-9, 9))


@given(
    rows=st.lists(told, max_size=30), spine=st.lists(st.tuples(st.sampled_from("abc"), moments), min_size=1, max_size=10),
    known=st.booleans(), delay=st.integers(0, 3), ttl=st.integers(0, 9), size=st.integers(1, 20),
)  # fmt: skip
def test_pruning_and_reading_change_nothing(
    rows: list[Any], spine: list[Any], known: bool, delay: int, ttl: int, size: int
) -> None:
    """The whole path, with rows out of reach left out early, against the oracle."""
    source = Source("s", time="at", delay=delay)
    tables = Tables()
    frame = pl.DataFrame(rows, schema={"k": pl.String, "at": pl.Int64, "told": pl.Int64, "x": pl.Int64}, orient="row")
    tables.add(source, frame, created="told")
    state = FeatureView(lambda r: r.select("x"), source=source, keys="k", ttl=ttl or None, name="a")
    events = FeatureView(lambda r: r.with_columns(y=-pl.col("x")), source=source, keys="k", name="b", aggregates=[
        agg.sum("y", over=size, hop=3, name="saw"), agg.max("y", over=size, offset=2, name="exact")])  # fmt: skip
    asked = {"k": [key for key, _ in spine], "t": [t for _, t in spine]}
    found = ask(tables, [state, events], asked, known_at=known)
    plain = [oracle.Row((k,), at, told, place, x) for place, (k, at, told, x) in enumerate(rows)]
    minus = [row._replace(value=-row.value) for row in plain]
    for place, (key, t) in enumerate(spine):
        held = oracle.state(plain, (key,), t, ttl=ttl, delay=delay, known=known)
        options: dict[str, Any] = {"size": size, "delay": delay, "known": known}
        saw = oracle.aggregate(minus, (key,), t, "sum", mode="sawtooth", hop=3, **options)
        exact = oracle.aggregate(minus, (key,), t, "max", offset=2, **options)
        assert found.row(place)[2:] == (None if held is None else held.value, saw, exact)


def test_on_demand_transforms_may_name_what_a_request_has_no_need_to_hold(tables: Tables) -> None:
    @on_demand
    def part(rows: Any) -> Any:
        return rows.drop("secret").select(twice=pl.col("x") * 2)

    plan = plan_on_demand(part, pl.Schema({"x": pl.Int64, "secret": pl.String}), "t")
    assert plan.reads == ("x",)
    assert on_demand_of(plan, pl.DataFrame({"x": [1, 2]}))["twice"].to_list() == [2, 4]
    with pytest.raises(NotFound, match=r"on-demand transform 'part'.*'x'"):
        on_demand_of(plan, pl.DataFrame({"y": [1]}))

    @on_demand
    def nothing(rows: Any) -> Any:
        return rows

    with pytest.raises(InvalidArgument, match="makes no column"):
        plan_on_demand(nothing, pl.Schema({"x": pl.Int64}), "t")
