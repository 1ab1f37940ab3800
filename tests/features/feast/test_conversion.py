"""What a repository becomes: the file, what is in it, and what is said of the rest."""

from __future__ import annotations

import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from tests.features.feast.imported import HERE, told, write_rows

from tidemill.core.specs.definition import Definitions, collect
from tidemill.features.feast.conversion import convert
from tidemill.features.feast.outcome import Conversion
from tidemill.features.feast.repository import (
    Aggregation,
    Code,
    DataSource,
    Entity,
    Field,
    OnDemandView,
    Other,
    Repository,
    Service,
    Use,
    View,
)

HOUR = 3_600_000_000
DRIVER = Entity(name="driver", key="driver_id", type="INT64")
RIDER = Entity(name="rider", key="rider_id", type="STRING")
STATS = DataSource(name="stats", kind="FileSource", time="at", options={"path": "stats.parquet"})
SPEED = View(name="speed", keys=["driver_id"], source="stats", features=[Field(name="kmh", type="DOUBLE")])


def repository(**parts: Any) -> Repository:
    return Repository(feast="0.67.0", project="rides", **{"entities": [DRIVER, RIDER], "sources": [STATS], **parts})


def converted(tmp_path: Path, **parts: Any) -> tuple[Conversion, Definitions]:
    """A repository converted, and what the file defines."""
    (tmp_path / "stats.parquet").touch()
    found = convert(repository(**parts), tmp_path, tmp_path)
    module = types.ModuleType("features")
    exec(compile(found.text, "features.py", "exec"), vars(module))
    return found, collect([module])


def reasons(found: Conversion) -> dict[str, str]:
    assert all(problem.next_step for problem in found.not_converted)
    return {problem.name: problem.reason for problem in found.not_converted}


def test_the_file_is_as_a_formatter_leaves_it(tmp_path):
    write_rows(tmp_path / "repository" / "data")
    found = convert(told(), tmp_path / "repository", tmp_path)
    (tmp_path / "features.py").write_text(found.text)
    for command in (["format", "--diff"], ["check"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, "--isolated", "--no-cache", "features.py"], cwd=tmp_path,
                       check=True)  # fmt: skip
    assert found.text == (HERE / "features.txt").read_text()


def test_long_expressions_are_divided_as_a_formatter_divides_them(tmp_path):
    long = [f"rows['{'é' if n % 2 else 'long'}_{'name' * 5}_{n}']" for n in range(5)]
    a, b, c, d, _ = long
    texts = [" + ".join(long), f"{a} * ({b} - {c}) / 2", f"-({a} - 1) * {b} - ({c} - {d}) * -3",
             f"({a} > 1) & ({b} < 2) & ({c} == 'a - b')", f"{a} + {b} >= {c} - {d}"]  # fmt: skip
    request = [Field(name=one[6:-2]) for one in long]
    views = [on_demand(f"f{n}", text, request=request) for n, text in enumerate(texts)]
    found, definitions = converted(tmp_path, on_demand=views)
    assert len(definitions.of_kind("on_demand")) == len(texts)
    assert "\n        + pl.col(" in found.text
    (tmp_path / "features.py").write_text(found.text)
    subprocess.run([sys.executable, "-m", "ruff", "format", "--diff", "--isolated", "--no-cache", "features.py"], cwd=tmp_path,
                   check=True)  # fmt: skip


def test_everything_is_told(tmp_path):
    write_rows(tmp_path / "repository" / "data")
    found = convert(told(), tmp_path / "repository", tmp_path)
    assert not found.not_converted
    assert {one.name: one.becomes for one in found.converted} == {
        "driver_stats": "tm.Source driver_stats",
        "driver_ratings": "tm.Source driver_ratings",
        "driver_hourly_stats": "tm.FeatureView driver_hourly_stats",
        "driver_rating": "tm.FeatureView driver_rating",
        "missed_offers": "tm.FeatureView missed_offers",
        "rating_weight": "tm.FeatureView rating_weight",
        "trip_facts": "tm.on_demand trip_facts",
        "expectation": "tm.on_demand expectation",
        "prospects": "tm.on_demand prospects",
        "driver_activity": "tm.FeatureService driver_activity",
    }


def test_what_people_wrote_is_carried_over(tmp_path):
    view = View(name="Speed2", keys=["driver_id", "rider_id"], source="stats", ttl=HOUR, owner="ann", tags={"a": "b", "c": ""},
                description='How "fast"\nthey are', features=[Field(name="kmh", description="per hour")])  # fmt: skip
    _, definitions = converted(tmp_path, views=[view])
    made = definitions.get("feature_view", "speed2")
    assert (made.key_columns, made.ttl_micros, made.owner) == (("driver_id", "rider_id"), HOUR, "ann")
    assert (made.description, made.tags) == ('How "fast"\nthey are', ("a:b", "c"))
    assert definitions.get("source", "stats").documentation == {"columns": {"kmh": "per hour"}}


def test_a_view_whose_columns_feast_finds_out_has_all_of_them(tmp_path):
    _, definitions = converted(tmp_path, views=[View(name="speed", keys=["driver_id"], source="stats")])
    assert definitions.get("feature_view", "speed").transform is None


def test_a_service_uses_a_view_as_it_did(tmp_path):
    both = [Field(name="kmh"), Field(name="mph")]
    uses = [
        Use(view="speed", features=["mph"]),
        Use(view="speed", alias="Second", features=["kmh", "mph"], keys={"driver_id": "other_id"}),
    ]
    service = Service(name="fast", uses=uses, description="for the model")
    found, definitions = converted(tmp_path, views=[View(name="speed", keys=["driver_id"], source="stats", features=both)],
                                   services=[service])  # fmt: skip
    first, second = definitions.get("feature_service", "fast").uses
    assert (first.only, first.text, dict(first.keys)) == (("mph",), "", {"driver_id": "driver_id"})
    assert (second.only, second.text, dict(second.keys)) == (None, "second_", {"driver_id": "other_id"})
    assert dict(definitions.get("source", "fast_requests").types) == {"driver_id": "int64", "other_id": "int64"}
    assert "Features of speed as Second are called second_speed__FEATURE." in found.notes


def test_a_service_over_the_rows_of_one_source_needs_no_other(tmp_path):
    _, definitions = converted(tmp_path, views=[SPEED], services=[Service(name="fast", uses=[Use(view="speed")])])
    assert list(definitions.of_kind("source")) == ["stats"]


def test_names_do_not_collide(tmp_path):
    views = [
        View(name=name, keys=["driver_id"], source="stats", features=SPEED.features)
        for name in ("stats", "class", "2x")
    ]
    services = [Service(name="Stats", uses=[Use(view=name) for name in ("stats", "class", "2x")])]
    _, definitions = converted(tmp_path, views=views, services=services)
    assert set(definitions.of_kind("feature_view")) == {"stats", "class", "2x"}
    assert set(definitions.of_kind("feature_service")) == {"stats"}


def test_aggregates_become_windows(tmp_path):
    aggregations = [
        Aggregation(column="km", function="sum", window=HOUR, slide=HOUR),
        Aggregation(column="km", function="count_distinct", window=24 * HOUR, slide=HOUR, name="places"),
        Aggregation(column="km", function="max"),
        Aggregation(column="km", function="sketch", window=HOUR),
    ]
    view = View(name="far", keys=["driver_id"], source="stats", ttl=HOUR, aggregations=aggregations,
                features=[Field(name="sum_km_3600s"), Field(name="places")])  # fmt: skip
    found, definitions = converted(tmp_path, views=[view])
    made = definitions.get("feature_view", "far")
    names = [name for aggregate in made.aggregates for name, _ in aggregate.features()]
    assert names == ["sum_km_3600s", "places", "km_max_lifetime"]
    assert [window.mode for aggregate in made.aggregates for window in aggregate.windows] == [
        "tumbling",
        "hopping",
        "exact",
    ]
    assert reasons(found) == {"far": "there is no aggregate 'sketch' (of km)"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"keys": []}, "it has no entity, and a feature view has a key"),
        ({"views": ["other"]}, "it is derived from other"),
        ({"source": "elsewhere"}, "it has no source that could be converted"),
        (
            {"code": Code(mode="spark", text="def f(df):\n    return df")},
            "its rows are transformed by a function for spark",
        ),
    ],
)
def test_a_view_that_has_no_counterpart(tmp_path, change, reason):
    view = View(**{"name": "speed", "keys": ["driver_id"], "source": "stats", **change})
    service = Service(name="fast", uses=[Use(view="speed")])
    found, definitions = converted(tmp_path, views=[view], services=[service])
    assert reasons(found) == {"speed": reason, "fast": "speed could not be converted"}
    assert "# Not converted: speed." in found.text
    assert not definitions.of_kind("feature_view")
    assert not definitions.of_kind("feature_service")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (DataSource(name="stats", kind="BigQuerySource", time="at"), "rows are not read from a BigQuerySource"),
        (DataSource(name="stats", kind="FileSource", time="at", options={"path": "s3://b/x"}), "a source is not read from s3://"),
        (DataSource(name="stats", kind="FileSource", time="at", options={"path": "x", "format": "DeltaFormat"}),
         "x is Delta, and a source reads one Parquet, CSV or JSON file"),
        (DataSource(name="stats", kind="FileSource", time="at", options={"path": "."}),
         ". is a folder, and a source reads one Parquet, CSV or JSON file"),
        (DataSource(name="stats", kind="PostgreSQLSource", time="at", options={"table": "t"}),
         "feature_store.yaml does not say where its PostgreSQL is"),
    ],
)  # fmt: skip
def test_a_source_that_cannot_be_read_still_takes_rows(tmp_path, source, reason):
    found, definitions = converted(tmp_path, sources=[source], views=[SPEED])
    assert reasons(found) == {"stats": reason}
    made = definitions.get("source", "stats")
    assert (made.url, dict(made.types)) == (None, {"driver_id": "int64", "kmh": "float64"})
    assert definitions.get("feature_view", "speed").source is made


def test_a_source_in_postgresql_names_no_password(tmp_path):
    offline = {"type": "postgres", "host": "db", "port": "5432", "database": "shop", "db_schema": "s", "user": "anna"}
    sources = [
        DataSource(name="orders", kind="PostgreSQLSource", time="at", options={"table": "orders"}),
        DataSource(name="dear", kind="PostgreSQLSource", time="at", options={"query": "SELECT 1"}),
    ]
    found, definitions = converted(tmp_path, sources=sources, offline=offline)
    assert (
        definitions.get("source", "orders").url
        == "postgresql://anna@db:5432/shop?table=s.orders#password=POSTGRES_PASSWORD"
    )
    dear = definitions.get("source", "dear")
    assert (dear.url, dear.query) == ("postgresql://anna@db:5432/shop#password=POSTGRES_PASSWORD", "SELECT 1")
    assert any("POSTGRES_PASSWORD" in note for note in found.notes)


def test_streams_say_how_they_are_read_here(tmp_path):
    kafka = {"servers": "k:9092", "topic": "rides"}
    sources = [
        STATS,
        DataSource(name="pushed", kind="PushSource", batch="stats"),
        DataSource(name="topic", kind="KafkaSource", batch="stats", options=kafka),
        DataSource(name="stream", kind="KinesisSource", batch="stats"),
    ]
    found, _ = converted(tmp_path, sources=sources, views=[SPEED])
    assert set(reasons(found)) == {"topic", "stream"}
    assert 'the URL "kafka://k:9092/rides"' in found.not_converted[0].next_step
    assert any("sources/stats/rows" in note for note in found.notes)


def test_a_source_without_a_time_has_no_counterpart(tmp_path):
    found, _ = converted(tmp_path, sources=[DataSource(name="stats", kind="FileSource")], views=[SPEED])
    assert set(reasons(found)) == {"stats", "speed"}


def test_other_things_are_named(tmp_path):
    found, _ = converted(tmp_path, others=[Other(kind="LabelView", name="late")], online="redis")
    assert reasons(found) == {"late": "there is nothing like it"}
    assert any("redis" in note for note in found.notes)
    assert any("No feature service" in note for note in found.notes)


def test_an_on_demand_view_of_the_request_computes_what_it_did(tmp_path):
    text = "def f(inputs):\n    return {'per_hour': inputs['km'] / inputs['hours']}"
    request = [Field(name="km", type="DOUBLE"), Field(name="hours", type="DOUBLE")]
    view = OnDemandView(name="Pace", code=Code(mode="python", text=text, singleton=True), request=request,
                        features=[Field(name="per_hour")], description="How fast")  # fmt: skip
    found, definitions = converted(tmp_path, on_demand=[view], views=[SPEED],
                                   services=[Service(name="fast", uses=[Use(view="Pace"), Use(view="speed")])])  # fmt: skip
    rows = definitions.get("on_demand", "pace")(pl.DataFrame({"km": [6.0], "hours": [2.0]}))
    assert rows.to_dicts() == [{"per_hour": 3.0}]
    assert "# How fast\n@tm.on_demand" in found.text


def on_demand(name: str, expression: str, **more: Any) -> OnDemandView:
    """A view whose function makes one feature, called like itself."""
    code = Code(mode="pandas", text=f"def f(rows):\n    return pd.DataFrame({{'{name}': {expression}}})")
    return OnDemandView(name=name, code=code, features=[Field(name=name)], **more)


def test_an_on_demand_view_reads_features_and_the_request(tmp_path):
    late = on_demand("late", "rows['km'] / rows['Speed__kmh']", uses=[Use(view="Speed")], request=[Field(name="km")])
    service = Service(name="fast", uses=[Use(view="late")])
    found, definitions = converted(tmp_path, views=[msgspec.structs.replace(SPEED, name="Speed")], on_demand=[late],
                                   services=[service])  # fmt: skip
    rows = definitions.get("on_demand", "late")(pl.DataFrame({"km": [6.0, 1.0], "speed__kmh": [3.0, None]}))
    assert rows.to_dicts() == [{"late": 2.0}, {"late": None}]
    (use,) = definitions.get("feature_service", "fast").uses
    assert (use.view.name, use.only, use.text) == ("speed", None, "")
    assert "Service fast has speed__kmh as well: its on-demand features read it." in found.notes
    assert dict(definitions.get("source", "fast_requests").types) == {"driver_id": "int64"}


def test_what_is_read_on_demand_is_added_to_a_service_once(tmp_path):
    both = msgspec.structs.replace(SPEED, features=[Field(name="kmh"), Field(name="mph"), Field(name="knots")])
    made = [
        on_demand("a", "rows['kmh'] + rows['mph']", uses=[Use(view="speed")], request=[Field(name="km")]),
        on_demand("b", "rows['mph'] + rows['km']", uses=[Use(view="speed")], request=[Field(name="km")]),
    ]
    uses = [
        Use(view="a"),
        Use(view="speed", features=["kmh"]),
        Use(view="speed", alias="x", features=["knots"]),
        Use(view="b"),
    ]
    found, definitions = converted(tmp_path, views=[both], on_demand=made, services=[Service(name="fast", uses=uses)])
    parts = definitions.get("feature_service", "fast").uses
    assert [(use.only, use.text) for use in parts] == [(("kmh", "mph"), ""), (("knots",), "x_")]
    assert [note for note in found.notes if "as well" in note] == [
        "Service fast has speed__mph as well: its on-demand features read it."
    ]
    whole = Service(name="fast", uses=[Use(view="speed"), Use(view="a")])
    found, definitions = converted(tmp_path, views=[both], on_demand=made, services=[whole])
    assert [use.only for use in definitions.get("feature_service", "fast").uses] == [None]
    assert not [note for note in found.notes if "as well" in note]


def test_on_demand_views_of_several_views_and_of_aggregates(tmp_path):
    far = View(name="far", keys=["driver_id"], source="stats",
               aggregations=[Aggregation(column="km", function="sum", window=HOUR, name="distance"),
                             Aggregation(column="km", function="max")])  # fmt: skip
    made = [
        on_demand("a", "rows['kmh'] * rows['far__distance']", uses=[Use(view="speed"), Use(view="far")]),
        on_demand("b", "rows['distance'] / 2", uses=[Use(view="far")]),
        on_demand("c", "rows['max_km'] / 2", uses=[Use(view="far")]),
        on_demand("d", "rows['a'] / 2", uses=[Use(view="a")]),
    ]
    service = Service(name="fast", uses=[Use(view="a"), Use(view="b")])
    found, definitions = converted(tmp_path, views=[SPEED, far], on_demand=made, services=[service])
    assert reasons(found) == {
        "c": "line 2 of its function reads 'max_km', which is none of its inputs",
        "d": "it reads a, which is computed on demand as well",
    }
    rows = pl.DataFrame({"speed__kmh": [3.0], "far__distance": [4.0]})
    assert definitions.get("on_demand", "a")(rows).item() == 12.0
    assert definitions.get("on_demand", "b")(rows).item() == 2.0
    assert [(use.view.name, use.only) for use in definitions.get("feature_service", "fast").uses] == [
        ("speed", None), ("far", ("distance",))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"uses": [Use(view="nowhere")]}, "it reads nowhere, which could not be converted"),
        ({"uses": [Use(view="speed", keys={"driver_id": "other"})], "request": [Field(name="km")]},
         "it reads speed by other keys than those of the view"),
        ({"uses": [Use(view="bare")], "request": [Field(name="km")]}, "it reads bare, whose columns Feast finds out at apply"),
        ({"uses": [Use(view="speed"), Use(view="stop")]}, "it reads kmh of several views"),
        ({"uses": [Use(view="speed")], "request": [Field(name="miles")]},
         "line 2 of its function reads 'km', which is none of its inputs"),
        ({"request": [Field(name="km")], "code": Code(mode="substrait")}, "it is written for substrait"),
        ({"request": [Field(name="km")], "aggregations": [Aggregation(column="km", function="sum")]},
         "it aggregates instead of going row by row"),
        ({"request": [Field(name="km")], "features": [Field(name="absent")]}, "its function does not make absent"),
    ],
)  # fmt: skip
def test_an_on_demand_view_that_has_no_counterpart(tmp_path, change, reason):
    code = Code(mode="pandas", text="def f(rows):\n    return pd.DataFrame({'x': rows['km']})")
    views = [
        SPEED,
        msgspec.structs.replace(SPEED, name="stop"),
        msgspec.structs.replace(SPEED, name="bare", features=[]),
    ]
    found, _ = converted(tmp_path, views=views, on_demand=[OnDemandView(**{"name": "made", "code": code, **change})])
    assert reasons(found) == {"made": reason}
    assert code.mode == "pandas"
    assert "# Not converted: made." in found.text


def test_an_empty_repository_is_a_file_without_definitions(tmp_path):
    found, definitions = converted(tmp_path, sources=[])
    assert not definitions.items
    assert not found.converted


def test_paths_far_away_are_absolute(tmp_path):
    far = tmp_path / "a" / "b"
    far.mkdir(parents=True)
    shutil.copy(HERE / "answers.json", tmp_path / "stats.parquet")
    text = convert(repository(), tmp_path, far).text
    assert f'"{tmp_path.resolve()}/stats.parquet"' in text
    assert '"../stats.parquet"' in convert(repository(), tmp_path, tmp_path / "a").text
