from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from tests.features.tables import HOUR, Tables

from tidemill.core.errors import InvalidArgument
from tidemill.core.specs import aggregates as agg
from tidemill.core.specs.checks import check
from tidemill.core.specs.definition import Definitions, collect
from tidemill.core.specs.features import FeatureService, FeatureView, Label, on_demand
from tidemill.core.specs.sources import Source
from tidemill.features.catalog import Catalog
from tidemill.features.statistics import features_of_newest


def definitions(**changed: Any) -> Definitions:
    trips = Source("trips", time="at", id="trip")
    sensor = Source("sensor", time="seen")
    state = FeatureView(lambda rows: rows.select("value"), source=sensor, keys="place", ttl="1h", owner="ada")
    recent = FeatureView(None, source=sensor, keys="place", aggregates=[agg.last_k("value", 2, over="1h")])

    @on_demand
    def asked(rows: Any) -> Any:
        return rows.select("distance", "kind")

    service = FeatureService([state, recent, state.on(place="goal").prefix("goal_"), asked])
    label = Label(trips, pl.col("minutes"))
    found = {"trips": trips, "sensor": sensor, "state": state, "recent": recent, "speed": service, "minutes": label}
    return collect([SimpleNamespace(**{**found, **changed})])  # type: ignore[list-item]


@pytest.fixture
def tables() -> Tables:
    tables = Tables()
    trips = {"trip": ["t"], "at": [HOUR], "place": ["a"], "goal": ["b"], "distance": [1], "kind": ["x"], "minutes": [3]}
    tables.add(Source("trips", time="at"), pl.DataFrame(trips))
    tables.add(Source("sensor", time="seen"), pl.DataFrame({"place": ["a", "a"], "seen": [0, 1], "value": [1.0, 2.0]}))
    return tables


def test_views_and_services_are_shown_with_their_columns(tables: Tables) -> None:
    catalog = Catalog(definitions(), tables.reader)
    recent, state = catalog.views()
    assert (recent.name, recent.kind, recent.ttl, recent.services) == ("recent", "aggregates", None, ("speed",))
    assert [(column.name, column.type) for column in recent.features] == [("recent__value_last_k2_1h", "list")]
    assert (state.name, state.kind, state.ttl, state.owner, state.keys) == ("state", "state", HOUR, "ada", ("place",))
    (service,) = catalog.services()
    assert [column.name for column in service.features] == [
        "state__value", "recent__value_last_k2_1h", "goal_state__value", "distance", "kind"
    ]  # fmt: skip
    assert [(column.name, column.type) for column in service.request] == [
        ("place", "string"), ("goal", "string"), ("at", "time"), ("distance", "int64"), ("kind", "string")
    ]  # fmt: skip
    assert (service.views, service.on_demand) == (("state", "recent"), ("asked",))


def test_before_anything_was_ingested_the_names_are_known_and_the_columns_not(tables: Tables) -> None:
    catalog = Catalog(definitions(), Tables().reader)
    assert [view.features for view in catalog.views()] == [(), ()]
    assert [(service.features, service.request) for service in catalog.services()] == [((), ())]
    catalog.validate()
    del tables.versions["trips"]
    assert Catalog(definitions(), tables.reader).services()[0].problem is None


def test_a_spine_is_a_source_with_what_the_service_needs(tables: Tables) -> None:
    catalog = Catalog(definitions(), tables.reader)
    service = definitions().get("feature_service", "speed")
    found = catalog.spine(service)
    assert found is not None
    assert found.name == "trips"
    tables.add(Source("trips", time="at"), tables.scan(Source("trips")).collect().drop("kind"))
    (shown,) = catalog.services()
    assert shown.features == ()
    assert "kind" in str(shown.problem)
    with pytest.raises(InvalidArgument, match=r"no source has the columns.*'speed'.*trips: .*kind"):
        catalog.spine(service)


def test_a_spine_that_declares_its_columns_needs_no_rows_yet(tables: Tables) -> None:
    types = {"place": "string", "goal": "string", "distance": "float64", "kind": "string"}
    asked, part = (
        Source("asked_for", time="when", types=types),
        Source("part", time="when", types={"place": "string"}),
    )
    only = {"trips": asked, "minutes": part}
    catalog = Catalog(definitions(**only), tables.reader)
    (service,) = catalog.services()
    assert [(column.name, column.type) for column in service.request] == [
        ("place", "string"), ("goal", "string"), ("when", "time"), ("distance", "float64"), ("kind", "string")
    ]  # fmt: skip
    assert service.problem is None
    found = definitions(**only).get("feature_service", "speed")
    assert features_of_newest(found, catalog, tables.reader).width == 0
    # One that declares too little does not fit, and one that declares nothing cannot be told.
    without = Catalog(definitions(trips=part, minutes=Source("unknown", time="when")), tables.reader)
    assert [one.request for one in without.services()] == [()]
    assert [one.problem for one in without.services()] == [None]


def test_the_newest_features_of_a_view_are_those_of_its_own_rows(tables: Tables) -> None:
    def way(rows: Any) -> Any:
        return rows.with_columns(way=pl.col("place") + "-" + pl.col("goal"))

    trips = Source("trips", time="at", id="trip")
    ways = FeatureView(way, source=trips, keys="way", name="ways", checks=[check("distance").between(0, 10)],
                       aggregates=[agg.sum("distance", over="1h"), agg.count("distance", over=None)])  # fmt: skip
    rows = {"trip": ["t", "u", "v", "w"], "at": [1, 2, 3, 4], "place": ["a"] * 4, "goal": ["b", "b", "c", "b"],
            "distance": [1, 4, 5, 99]}  # fmt: skip
    tables.add(trips, pl.DataFrame(rows))
    found = features_of_newest(ways, Catalog(definitions(trips=trips, ways=ways), tables.reader), tables.reader)
    assert sorted(found.rows(), key=str) == [
        (1, 1),
        (None, 0),
        (None, 0),
    ]  # the row that fails a check is none of the view


def test_a_service_is_resolved_anew_when_a_table_has_other_columns(tables: Tables) -> None:
    known = definitions()
    catalog, service, trips = (
        Catalog(known, tables.reader),
        known.get("feature_service", "speed"),
        known.get("source", "trips"),
    )
    first = catalog.resolve(service)
    tables.versions["trips"].append(tables.versions["trips"][-1])
    assert first is not None
    assert catalog.resolve(service) is first
    wider = tables.versions["trips"][-1].with_columns(pl.col("distance").cast(pl.Float64))
    tables.versions["trips"].append(wider)
    again = catalog.resolve(service)
    assert again is not None
    assert [one.type for one in first.request if one.name == "distance"] == ["int64"]
    assert [one.type for one in again.request if one.name == "distance"] == ["float64"]
    tables.versions.pop(trips.name)
    assert catalog.resolve(service) is None
    tables.add(trips, wider.select("trip", "at"))
    for _ in range(2):  # what does not fit is told each time
        with pytest.raises(InvalidArgument, match="no source has the columns"):
            catalog.resolve(service)


def test_definitions_are_checked_against_the_rows(tables: Tables) -> None:
    Catalog(definitions(), tables.reader).validate()
    sensor = Source("sensor", time="seen")
    shifted = FeatureView(
        lambda rows: rows.select(pl.col("value").shift(1)), source=sensor, keys="place", name="shifted"
    )
    with pytest.raises(InvalidArgument, match="'shifted' gives other values"):
        Catalog(definitions(shifted=shifted), tables.reader).validate()
    text = FeatureView(None, source=sensor, keys="place", aggregates=[agg.mean("place")], name="text")
    with pytest.raises(InvalidArgument, match=r"mean.*String"):
        Catalog(definitions(text=text), tables.reader).validate()
    twice = FeatureView(None, source=sensor, keys="place", aggregates=[agg.count("value")] * 2, name="twice")
    with pytest.raises(InvalidArgument, match="two features 'value_count_lifetime'"):
        Catalog(definitions(twice=twice), tables.reader).validate()
