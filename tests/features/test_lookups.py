"""Reference data: joined by key, at the version a training set pins, and the same online."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.features.tables import HOUR, UTC, Tables, keep

import tidemill as tm
from tidemill.core.clock import ManualClock
from tidemill.core.errors import InvalidArgument, NotFound, NotReady
from tidemill.core.scope import Scope
from tidemill.core.specs.definition import collect
from tidemill.core.times import to_datetime
from tidemill.features.online import Online
from tidemill.features.service import Features
from tidemill.stores.online.open import open_online

flights = tm.Source("flights", time="at", id="flight")
planes = tm.Source("planes")
airports = tm.Source("airports", id="faa")


@tm.on_demand
def trip(rows: Any) -> Any:
    return rows.select("distance", per_seat=pl.col("distance") / pl.col("planes__seats"))


service = tm.FeatureService(
    [
        tm.lookup(planes, on="tailnum", columns=["engine", "seats"]),
        tm.lookup(airports, on={"faa": "origin"}, columns=["altitude"]),
        tm.lookup(airports, on={"faa": "dest"}).prefix("dest_"),
        trip,
    ],
    name="flight",
)
DEFINITIONS = collect([SimpleNamespace(flights=flights, planes=planes, airports=airports, service=service)])  # type: ignore[list-item]

SPINE = pl.DataFrame({
    "flight": ["a", "b", "c", "d"], "at": pl.Series([-HOUR, 0, 2 * HOUR, 3 * HOUR]).cast(UTC),
    "tailnum": ["N1", "N2", None, "N9"], "origin": ["EWR", "JFK", "EWR", "XXX"], "dest": ["JFK", None, "EWR", "JFK"],
    "distance": [1, 2, 3, 4],
})  # fmt: skip
NAMES = [
    "planes__engine",
    "planes__seats",
    "airports__altitude",
    "dest_airports__altitude",
    "dest_airports__zone",
    "distance",
    "per_seat",
]


@pytest.fixture
def tables() -> Tables:
    tables = Tables()
    tables.add(flights, SPINE)
    tables.add(planes, pl.DataFrame({"tailnum": ["N1", "N2", "N1", None], "seats": [10, 20, 30, 40],
                                     "engine": ["jet", None, "fan", "jet"]}))  # fmt: skip
    tables.add(airports, pl.DataFrame({"faa": ["EWR", "JFK"], "altitude": [18.0, 13.0], "zone": ["east", "east"]}))
    return tables


@pytest.fixture
def features(tables: Tables, tmp_path: Path) -> Iterator[Features]:
    store = open_online("lmdb:", tmp_path)
    scope = Scope("test", "ada", ManualClock(5 * HOUR))
    online = Online(scope, read=lambda source: tables.scan(source), store=store)
    yield Features(scope=scope, definitions=DEFINITIONS, reader=tables.reader, online=online, save=keep)
    store.close()


def test_the_newest_row_of_a_key_holds_at_all_times(features: Features) -> None:
    found = features.offline(service, SPINE, "at").select(NAMES)
    assert found.rows() == [
        ("fan", 30, 18.0, 13.0, "east", 1, 1 / 30),
        (None, 20, 13.0, None, None, 2, 0.1),
        (None, None, 18.0, 18.0, "east", 3, None),
        (None, None, None, 13.0, "east", 4, None),
    ]


def test_online_is_offline(features: Features, tables: Tables) -> None:
    done = features.materialize()
    assert sorted((one.view, one.rows) for one in done) == [("airports", 2), ("planes", 3)]
    assert features.materialize("planes")[0].rows == 0
    for hour in (-1, 0, 4):
        at = SPINE.with_columns(at=pl.lit(hour * HOUR).cast(UTC))
        assert_frame_equal(
            features.online(service, at.drop("at"), hour * HOUR), features.offline(service, at, "at").select(NAMES)
        )
    arrived = pl.DataFrame({"tailnum": ["N9"], "seats": [90], "engine": ["jet"]}).with_columns(
        event_ts=pl.lit(None, UTC), created_ts=pl.lit(HOUR).cast(UTC), ingest_seq=pl.lit(9, pl.Int64)
    )
    assert features.apply_rows(planes, arrived) == 1
    vector = features.vector(service, {**SPINE.row(3, named=True), "at": to_datetime(HOUR)})
    assert (vector["planes__seats"], vector["per_seat"]) == (90, 4 / 90)
    fresh = {one.view: (one.rows, one.newest, one.lag, one.stale) for one in features.freshness()}
    assert fresh == {"planes": (4, None, None, False), "airports": (2, None, None, False)}


def test_a_training_set_reads_the_version_it_pins(features: Features, tables: Tables) -> None:
    kept = features.training_set(service=service, spine=flights, label=None, until="1970-01-01T04:00:00Z")
    facts: dict[str, Any] = kept.facts  # type: ignore[attr-defined]
    assert facts["tables"] == {"sources/airports": 0, "sources/flights": 0, "sources/planes": 0}
    assert [column.name for column in facts["features"]] == NAMES
    assert facts["keys"] == ("tailnum", "origin", "dest")
    assert [column.name for column in facts["request"]] == ["tailnum", "origin", "dest", "at", "distance"]
    tables.add(planes, pl.DataFrame({"tailnum": ["N1"], "seats": [99], "engine": ["jet"]}))
    again = features.training_set(service=service, spine=flights, label=None, until="1970-01-01T04:00:00Z")
    assert kept.frame["planes__seats"].to_list() == [30, 20, None, None]
    assert again.frame["planes__seats"].to_list() == [99, None, None, None]
    assert again.facts["tables"]["sources/planes"] == 1  # type: ignore[attr-defined]


def test_rows_known_later_do_not_count_where_that_is_asked_for(features: Features, tables: Tables) -> None:
    rows = {"tailnum": ["N1", "N1"], "seats": [10, 30], "engine": ["jet", "jet"], "known": [0, 2 * HOUR]}
    tables.add(planes, pl.DataFrame(rows), created="known")
    at = SPINE.head(1).with_columns(at=pl.lit(HOUR).cast(UTC))
    assert features.offline(service, at, "at")["planes__seats"].to_list() == [30]
    assert features.offline(service, at, "at", known_at=True)["planes__seats"].to_list() == [10]


def test_what_does_not_fit_is_named(features: Features, tables: Tables) -> None:
    with pytest.raises(NotReady, match="materialize"):
        features.online(service, SPINE, HOUR)
    wrong = tm.FeatureService([tm.lookup(planes, on="tailnum", columns=["seat"])], name="wrong")
    with pytest.raises(NotFound, match="Did you mean 'seats'"):
        features.offline(wrong, SPINE, "at")
    with pytest.raises(InvalidArgument, match="'flights' has a time column"):
        tm.lookup(flights, on="tailnum")
    with pytest.raises(InvalidArgument, match="needs a key"):
        tm.lookup(planes, on=[])
    with pytest.raises(InvalidArgument, match="columns='seats'"):
        tm.lookup(planes, on="tailnum", columns="seats")
    with pytest.raises(InvalidArgument, match="is not a source"):
        tm.lookup("planes", on="tailnum")  # type: ignore[arg-type]


def test_the_columns_wanted_are_part_of_the_service() -> None:
    one, two = (tm.FeatureService([tm.lookup(planes, on="tailnum", columns=[name])]) for name in ("seats", "engine"))
    assert one.digest() != two.digest()
    assert one.uses[0].view.digest() == two.uses[0].view.digest()  # both are answered from one copy


def test_a_recipe_that_does_not_fit_is_found_before_it_is_applied(features: Features) -> None:
    def problem(*prepare: Any) -> str | None:
        made = tm.FeatureService([trip, tm.lookup(planes, on="tailnum")], name="made", prepare=prepare)
        asked = collect([SimpleNamespace(flights=flights, planes=planes, made=made)])  # type: ignore[list-item]
        try:
            features.validate(asked)
        except (InvalidArgument, NotFound) as error:
            return str(error)
        return None

    right = [tm.impute("*__seats"), tm.one_hot("planes__engine"), tm.scale("planes__engine_jet"), tm.dates("at")]
    assert problem(*right) is None
    assert problem(tm.scale("planes__engine")) == (
        "scale('planes__engine') on a column of string. Expected a column of float64 or int64."
    )
    assert "Did you mean 'distance'" in (problem(tm.dates("at"), tm.clip("distanse", lower=0)) or "")
    assert "matches no column" in (problem(tm.ordinal("weather__*")) or "")
