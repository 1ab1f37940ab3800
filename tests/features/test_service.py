from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from tests.features.tables import HOUR, UTC, Tables, keep

from tidemill.core.clock import ManualClock
from tidemill.core.errors import InvalidArgument, NotFound, NotReady
from tidemill.core.scope import Scope
from tidemill.core.specs import aggregates as agg
from tidemill.core.specs.definition import Definitions, collect
from tidemill.core.specs.features import FeatureService, FeatureView, Label, on_demand
from tidemill.core.specs.sources import Source
from tidemill.features.online import Online
from tidemill.features.service import Features
from tidemill.stores.online.open import open_online

NOW = 10 * HOUR
trips = Source("trips", time="at", id="trip")
sensor = Source("sensor", time="seen")


@on_demand
def asked(rows: Any) -> Any:
    return rows.select(far=pl.col("distance") > 2, hour=pl.col("at").dt.hour())


def definitions() -> Definitions:
    state = FeatureView(lambda rows: rows.select("value"), source=sensor, keys="place", target="1h")
    recent = FeatureView(None, source=sensor, keys="place", aggregates=[agg.mean("value", over="3h", name="mean")])
    service = FeatureService([state, recent, asked])
    late = Label(trips, pl.col("late"))
    return collect([SimpleNamespace(trips=trips, sensor=sensor, state=state, recent=recent, speed=service, late=late)])  # type: ignore[list-item]


def values(*rows: tuple[str, int, float]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema={"place": pl.String, "seen": pl.Int64, "value": pl.Float64}, orient="row")
    return frame.with_columns(pl.col("seen").cast(UTC))


@pytest.fixture
def tables() -> Tables:
    tables = Tables()
    at = pl.Series([4 * HOUR, 6 * HOUR]).cast(UTC)
    rows = {"trip": ["a", "b"], "at": at, "place": ["x", "y"], "distance": [1, 3], "late": [True, False]}
    tables.add(trips, pl.DataFrame(rows))
    tables.add(sensor, values(("x", HOUR, 1.0), ("x", 3 * HOUR, 3.0), ("y", 5 * HOUR, 5.0)))
    return tables


@pytest.fixture
def features(tables: Tables, tmp_path: Path) -> Iterator[Features]:
    scope = Scope("test", "ada", ManualClock(NOW))
    store = open_online("lmdb:", tmp_path)
    online = Online(scope, read=lambda source: tables.scan(source), store=store)
    yield Features(scope=scope, definitions=definitions(), reader=tables.reader, online=online, save=keep)
    store.close()


SPINE = pl.DataFrame({"place": ["x", "y", "zz"], "distance": [1, 3, 3]})


def test_online_gives_the_offline_value_of_the_same_moment(features: Features) -> None:
    features.materialize()
    speed = features._definitions.get("feature_service", "speed")
    for t in range(0, 10 * HOUR, HOUR // 2):
        spine = SPINE.with_columns(at=pl.lit(t).cast(UTC))
        offline = features.offline("speed", spine, "at")
        online = features.online(speed, SPINE, t)
        assert online.columns == ["state__value", "recent__mean", "far", "hour"]
        assert online.equals(offline.select(online.columns))


def test_some_features_of_a_view_are_the_same_online_and_offline(features: Features, tables: Tables) -> None:
    several = [
        agg.mean("value", over="3h", name="mean"),
        agg.count("value", over="9h", name="n"),
        agg.max("value", over=None, name="top"),
    ]
    recent = FeatureView(None, source=sensor, keys="place", aggregates=several, name="recent")
    service = FeatureService([recent.select("top", "mean")], name="some")
    features.materialize(recent)
    rows = tables.scan(trips).select("place", "at").collect()
    offline = features.offline(service, rows, "at").select("recent__top", "recent__mean")
    online = [
        features.online(service, row, at)
        for row, at in zip(rows.drop("at").iter_slices(1), (4 * HOUR, 6 * HOUR), strict=True)
    ]
    assert offline.rows() == [(3.0, 2.0), (5.0, 5.0)]
    assert pl.concat(online).rows() == offline.rows()
    assert pl.concat(online).columns == offline.columns
    unknown = FeatureService([recent.select("mode")], name="wrong")
    with pytest.raises(NotFound, match="mean, n, top"):
        features.offline(unknown, rows, "at")


def test_a_row_has_its_own_time_or_the_clocks(features: Features) -> None:
    features.materialize()
    rows = SPINE.head(2).with_columns(at=pl.Series(["1970-01-01T02:00:00Z", None]))
    assert features.online("speed", rows).rows() == [(1.0, 1.0, False, 2), (5.0, None, True, 10)]
    assert features.online("speed", rows, 4 * HOUR)["hour"].to_list() == [4, 4]
    with pytest.raises(InvalidArgument, match=r"the time 1970-01-01T11:00:00Z is in the future"):
        features.online("speed", SPINE, 11 * HOUR)


def test_texts_of_a_command_line_are_read_as_what_they_are_meant_for(features: Features) -> None:
    features.materialize("state")
    features.materialize("recent")
    row = {"place": "x", "distance": "3", "at": "1970-01-01T03:00"}
    assert features.vector("speed", row) == {"state__value": 3.0, "recent__mean": 1.0, "far": True, "hour": 3}
    with pytest.raises(InvalidArgument, match=r"'near' is no value of column 'distance'"):
        features.vector("speed", {**row, "distance": "near"})
    with pytest.raises(NotFound, match="Did you mean 'speed'"):
        features.vector("sped", row)


def test_enriched_rows_keep_their_order_and_columns(features: Features) -> None:
    features.materialize()
    speed = features._definitions.get("feature_service", "speed")
    times = pl.Series([None, 4 * HOUR, NOW], dtype=pl.Int64)
    rows = SPINE.with_columns(prediction_time=times, at=times.cast(UTC), row_id=pl.Series(["1", "2", "3"]))
    found = features.enrich(speed, rows, NOW)
    assert found.columns == [*rows.columns, "state__value", "recent__mean", "far", "hour"]
    assert found.select(rows.columns).equals(rows)
    assert found["state__value"].to_list() == [3.0, None, None]
    assert features.enrich(speed, rows.drop("prediction_time"), NOW)["state__value"].to_list() == [3.0, 5.0, None]
    with pytest.raises(InvalidArgument, match="in the future"):
        features.enrich(speed, rows, NOW - 1)
    assert [column.name for column in features.request_schema(speed)] == ["place", "at", "distance"]


def test_rows_that_arrive_are_answered_from_at_once(features: Features, tables: Tables) -> None:
    features.materialize()
    arrived = values(("zz", 9 * HOUR, 9.0)).with_columns(
        event_ts="seen", created_ts=pl.lit(NOW).cast(UTC), ingest_seq=pl.lit(3, pl.Int64)
    )
    assert features.apply_rows(sensor, arrived) == 2
    assert features.online("speed", SPINE).rows()[2] == (9.0, 9.0, True, 10)
    newest = {one.view: (one.newest, one.stale) for one in features.freshness()}
    assert newest == {"state": (9 * HOUR, False), "recent": (9 * HOUR, False)}


def test_before_there_are_rows_it_says_so(features: Features, tables: Tables) -> None:
    speed = features._definitions.get("feature_service", "speed")
    with pytest.raises(NotReady, match="materialize"):
        features.online(speed, SPINE)
    tables.versions.clear()
    with pytest.raises(NotReady, match="'speed' have no rows yet"):
        features.request_schema(speed)
    features.validate(definitions())
    assert [view.name for view in features.views()] == ["recent", "state"]
    assert [service.name for service in features.services()] == ["speed"]


def test_a_training_set_through_the_service(features: Features) -> None:
    speed, late = (features._definitions.get(*name) for name in (("feature_service", "speed"), ("label", "late")))
    found: Any = features.training_set(service=speed, spine=trips, label=late, until=8 * HOUR)
    assert found.frame["state__value"].to_list() == [3.0, 5.0]
    assert found.frame["late"].to_list() == [True, False]
