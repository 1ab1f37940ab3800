from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.features.tables import HOUR, Kept, Tables, keep

from tidemill.core.clock import ManualClock
from tidemill.core.errors import InvalidArgument, NotFound, NotReady, UserCodeError
from tidemill.core.specs import aggregates as agg
from tidemill.core.specs.checks import check
from tidemill.core.specs.features import FeatureService, FeatureView, Label, on_demand
from tidemill.core.specs.sources import Source
from tidemill.core.times import NOW
from tidemill.features.training import TrainingSets, describe_feature

trips = Source("trips", time="at", id="trip")
sensor = Source("sensor", time="seen")
state = FeatureView(lambda rows: rows.select("value"), source=sensor, keys="place", name="state")
recent = FeatureView(
    None, source=sensor, keys="place", name="recent",
    aggregates=[agg.count("value", name="n"), agg.last_k("value", 3, over=10, name="newest"), agg.mean("value", over=4)],
)  # fmt: skip


@on_demand
def asked(rows: Any) -> Any:
    return rows.select("distance", hour=pl.col("at").dt.hour())


service = FeatureService([state, recent, asked], name="speed")
slow = Label(trips, pl.col("minutes") > 10, known_at="arrived", name="slow")


def trip_rows(trips: list[tuple[int, int | None, str]]) -> pl.DataFrame:
    times = [at for at, _, _ in trips]
    return pl.DataFrame({
        "trip": [f"t{i}" for i in range(len(trips))], "at": times, "arrived": [done for _, done, _ in trips],
        "place": [place for _, _, place in trips], "distance": [1.5] * len(trips), "minutes": [20] * len(trips),
    }, schema_overrides={"at": pl.Int64, "arrived": pl.Int64, "trip": pl.String, "place": pl.String,
                         "distance": pl.Float64, "minutes": pl.Int64}).with_columns(
        pl.col("at", "arrived").cast(pl.Datetime("us", "UTC")))  # fmt: skip


def sensor_rows(rows: list[tuple[str, int, int | None, float]]) -> pl.DataFrame:
    schema = {"place": pl.String, "seen": pl.Int64, "told": pl.Int64, "value": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def build(tables: Tables, now: int = 10**9, **options: Any) -> Kept:
    sets = TrainingSets(clock=ManualClock(now), reader=tables.reader, save=keep)
    arguments = {"service": service, "spine": trips, "label": slow, "until": now, **options}
    return sets.training_set(**arguments)  # type: ignore[return-value]


places = st.sampled_from(["a", "b"])
times = st.integers(0, 30)
seen = st.tuples(places, times, st.none() | times, st.floats(-5, 5))
later = st.tuples(places, times, st.integers(1, 30) | st.none(), st.floats(-5, 5))


@given(rows=st.lists(seen, max_size=20), spine=st.lists(st.tuples(times, times, places), min_size=1, max_size=8),
       which=st.integers(0, 7), changed=st.lists(later, max_size=20))  # fmt: skip
def test_no_row_uses_anything_known_after_its_time(
    rows: list[Any], spine: list[Any], which: int, changed: list[Any]
) -> None:
    """Whatever is done to all that becomes known after a row's time: the row's features stay what they were."""
    t = spine[which % len(spine)][0]
    known = [row for row in rows if row[2] is not None and row[2] <= t]
    unknown = [(place, at, None if told is None else t + told, value) for place, at, told, value in changed]
    answers = []
    for content in (rows, known, [*unknown, *known]):
        tables = Tables()
        tables.add(trips, trip_rows(spine))
        tables.add(sensor, sensor_rows(content), created="told")
        found = build(tables, label=None, known_at=True).frame
        answers.append(found.filter(pl.col("at").cast(pl.Int64) == t).sort("trip"))
    assert answers[0].equals(answers[1])
    assert answers[0].equals(answers[2])


@given(rows=st.lists(seen, max_size=20), t=times, changed=st.lists(later, max_size=20))
def test_by_event_time_nothing_that_happens_later_is_used(rows: list[Any], t: int, changed: list[Any]) -> None:
    before = [row for row in rows if row[1] < t]
    after = [(place, t + 1 + at, told, value) for place, at, told, value in changed]
    answers = []
    for content in (before, [*after, *before]):
        tables = Tables()
        tables.add(trips, trip_rows([(t, None, "a"), (t, None, "b")]))
        tables.add(sensor, sensor_rows(content), created="told")
        answers.append(build(tables, label=None).frame)
    assert answers[0].equals(answers[1])


@pytest.fixture
def tables() -> Tables:
    tables = Tables()
    tables.add(trips, trip_rows([(4 * HOUR, 5 * HOUR, "a"), (2 * HOUR, 9 * HOUR, "b"), (3 * HOUR, None, "a")]))
    tables.add(sensor, sensor_rows([("a", 2 * HOUR, None, 1.0), ("a", 3 * HOUR, None, 2.0), ("b", HOUR, None, 7.0)]))
    return tables


def test_rows_come_by_time_with_all_a_dataset_needs(tables: Tables) -> None:
    found = build(tables, until=10 * HOUR, now=11 * HOUR)
    assert found.frame.columns == [
        "trip", "place", "at", "distance", "state__value", "recent__n", "recent__newest",
        "recent__value_mean_4us", "hour", "slow",
    ]  # fmt: skip
    assert found.frame["trip"].to_list() == ["t1", "t0"]
    assert found.frame["state__value"].to_list() == [7.0, 2.0]
    assert found.frame["hour"].to_list() == [2, 4]
    facts = found.facts
    assert facts["tables"] == {"sources/sensor": 0, "sources/trips": 0}
    assert [column.name for column in facts["request"]] == ["place", "at", "distance"]
    assert [column.type for column in facts["request"]] == ["string", "time", "float64"]
    assert (facts["label"].name, facts["label"].type, facts["until"]) == ("slow", "boolean", 10 * HOUR)
    assert (facts["id"], facts["time"], facts["keys"]) == (("trip",), "at", ("place",))
    assert (facts["service"], facts["label_name"], facts["availability"]) == ("speed", "slow", "event")


def test_a_label_known_only_after_until_is_unknown(tables: Tables) -> None:
    assert build(tables, until=9 * HOUR, now=99 * HOUR).frame["trip"].to_list() == ["t1", "t0"]
    assert build(tables, until=9 * HOUR - 1, now=99 * HOUR).frame["trip"].to_list() == ["t0"]
    assert build(tables, until=5 * HOUR - 1, now=99 * HOUR).frame["trip"].to_list() == []


def test_until_is_never_after_the_clock_nor_by_default_after_the_data(tables: Tables) -> None:
    assert build(tables, until=99 * HOUR, now=6 * HOUR).facts["until"] == 6 * HOUR
    assert build(tables, until=NOW, now=99 * HOUR).facts["until"] == 4 * HOUR
    assert build(tables, until=NOW, now=3 * HOUR).facts["until"] == 3 * HOUR
    assert build(tables, until="1970-01-01T09:00:00", since="1970-01-01T03:00:00").frame.height == 0
    assert build(tables, now=99 * HOUR, until=9 * HOUR, since=3 * HOUR).frame["trip"].to_list() == ["t0"]


def test_what_became_of_the_rows_is_counted(tables: Tables) -> None:
    counts: list[Any] = []
    checked = FeatureView(lambda r: r.select("value"), source=sensor, keys="place", name="checked",
                          checks=[check("value").between(0, 5)])  # fmt: skip
    sets = TrainingSets(clock=ManualClock(99 * HOUR), reader=tables.reader, save=keep)
    service = FeatureService([checked], name="s")
    sets.training_set(service=service, spine=trips, label=slow, until=9 * HOUR, counted=counts.append)
    assert counts == [{"rows": 3, "label_unknown": 1, "checked: value.between(0, 5)": 1}]


def test_labels_of_another_source_are_joined_by_id_and_the_last_report_counts(tables: Tables) -> None:
    reports = Source("reports", time="reported", id="of")
    rows = {
        "of": ["t0", "t0", "t1", "t9"],
        "reported": [5 * HOUR, 6 * HOUR, 7 * HOUR, HOUR],
        "late": [True, False, True, True],
    }
    tables.add(reports, pl.DataFrame(rows))
    late = Label(reports, pl.col("late"), name="late")
    found = {u: build(tables, label=late, until=u * HOUR, now=99 * HOUR).frame for u in (4, 5, 6, 7)}
    assert {u: dict(frame.select("trip", "late").rows()) for u, frame in found.items()} == {
        4: {}, 5: {"t0": True}, 6: {"t0": False}, 7: {"t0": False, "t1": True}
    }  # fmt: skip


def test_a_training_set_reads_the_versions_it_started_with(tables: Tables) -> None:
    class Moving(Tables):
        def version(self, source: Source) -> int | None:
            found = super().version(source)
            self.add(sensor, sensor_rows([("a", 0, None, 99.0)]))
            return found

    moving = Moving(tables.versions)
    found = build(moving, until=10 * HOUR, now=11 * HOUR)
    assert found.facts["tables"]["sources/sensor"] < len(tables.versions["sensor"]) - 1
    assert build(Tables({"trips": tables.versions["trips"], "sensor": tables.versions["sensor"][:1]}), until=10 * HOUR,
                 now=11 * HOUR).frame["state__value"].to_list() == [7.0, 2.0]  # fmt: skip


def test_text_features_keep_their_most_frequent_values() -> None:
    many = pl.Series("c", [f"{i:03}" for i in range(300)] + ["299", "298"] * 2)
    found = describe_feature(many).categories
    assert found is not None
    assert len(found) == 254
    assert found[0] == "000"
    assert found[-2:] == ("298", "299")


def test_bad_definitions_are_refused_in_words(tables: Tables) -> None:
    with pytest.raises(NotReady, match="'nothing' has no rows yet"):
        build(tables, spine=Source("nothing", time="at", id="trip"), label=None)
    with pytest.raises(NotReady, match="no rows"):
        build(tables, spine=Source("nothing", time="at", id="trip"), label=None, until=NOW)
    with pytest.raises(InvalidArgument, match="has no time"):
        build(tables, spine=Source("planes"))
    with pytest.raises(InvalidArgument, match="has no id"):
        build(tables, spine=Source("trips", time="at"))
    with pytest.raises(UserCodeError, match=r"label 'slow'.*nope"):
        build(tables, label=Label(trips, pl.col("nope"), name="slow"))
    with pytest.raises(InvalidArgument, match="one value for all rows"):
        build(tables, label=Label(trips, pl.col("minutes").sum(), name="slow"), now=99 * HOUR)
    with pytest.raises(NotFound, match="known_at column of label"):
        build(tables, label=Label(trips, pl.col("minutes"), known_at="arived", name="slow"))
    with pytest.raises(InvalidArgument, match="name of another column"):
        build(tables, label=Label(trips, pl.col("minutes"), name="distance"))
    with pytest.raises(InvalidArgument, match=r"since=tm\.NOW"):
        build(tables, since=NOW)


def test_labels_need_ids_that_fit(tables: Tables) -> None:
    reports = Source("reports", time="reported", id=["of", "part"])
    tables.add(reports, pl.DataFrame({"of": ["t0"], "part": [1], "reported": [HOUR], "late": [True]}))
    with pytest.raises(InvalidArgument, match=r"has the id \['trip'\].*\['of', 'part'\]"):
        build(tables, label=Label(reports, pl.col("late"), name="late"))
    numbered = Source("reports", time="reported", id="part")
    with pytest.raises(InvalidArgument, match=r"id 'trip' is String, but id 'part' of label 'late' is Int64"):
        build(tables, label=Label(numbered, pl.col("late"), name="late"))


def test_a_manifest_tells_what_counted_as_available(tables: Tables) -> None:
    known = FeatureView(lambda r: r.select("value"), source=sensor, keys="place", name="known", known_at=True)
    assert build(tables, label=None, known_at=True).facts["availability"] == "known"
    assert build(tables, label=None, service=FeatureService([known])).facts["availability"] == "known"
    mixed = build(tables, label=None, service=FeatureService([known, state]))
    assert mixed.facts["availability"] == "mixed"
    assert (mixed.facts["name"], mixed.facts["service"]) == ("training-set", None)
    plans = {build(tables, label=None, **options).facts["plan"] for options in ({}, {"known_at": True}, {"since": 0})}
    assert len(plans) == 2
