"""A prepared feature service through its whole life: what a request is prepared to is what training saw."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

import tidemill as tm
from tidemill.core.clock import ManualClock
from tidemill.core.protocols import ModelRef
from tidemill.core.times import to_micros
from tidemill.platform import Platform
from tidemill.serving.generation import Generation, compile_generation
from tidemill.serving.runtime import Target

PROJECT = """
import polars as pl
import tidemill as tm

rides = tm.Source("rides", "rides.csv", time="at", id="ride")
weather = tm.Source("weather", "weather.csv", time="seen", types={"temp": "float64"})

drivers = tm.Source("drivers", "drivers.csv")  # reference data: no time

@tm.feature_view(source=weather, keys="city", ttl="6h")
def sky(rows):
    return rows.select("temp", "text")

@tm.on_demand
def trip(rows):
    return rows.select("city", "driver", "miles")

driver = tm.lookup(drivers, on="driver", columns=["years"])

fares = tm.FeatureService([sky, driver, trip], prepare=[
    tm.impute("drivers__years"),
    tm.impute("sky__temp", strategy="median", by="city", indicator=True),
    tm.scale("*__temp"),
    tm.one_hot("sky__text", max_categories=3),
    tm.target_encode("city", smooth=5),
    tm.hash_encode("driver", buckets=16),
    tm.clip("miles", quantiles=(0.05, 0.95)),
    tm.dates("at", parts=["hour", "weekday"], time_zone="Europe/Berlin"),
])
tipped = tm.Label(rides, pl.col("tip") > 1, known_at="at")

@tm.step
def fit(rows):
    from sklearn.linear_model import LogisticRegression
    return LogisticRegression(max_iter=2000).fit(rows.X, rows.y)

@tm.pipeline
def learn(until=tm.NOW):
    rows = fares.training_set(spine=rides, label=tipped, until=until)
    fit_rows, test_rows = tm.split(rows, by="time", test=0.3)
    best = tm.search(fit, rows=fit_rows, space={}, trials=1, maximize="roc_auc")
    return tm.promote(best, "tips", test=test_rows, gate=tm.Gate("roc_auc", min_gain=-1))

graph = tm.Graph("tips").enrich(fares).model("models:/tips@champion", shadow="models:/tips@challenger")
"""

HOUR, START = 3_600_000_000, to_micros("2024-03-01")
UTC = pl.Datetime("us", "UTC")


def write_rows(folder: Path, until: int) -> None:
    """Rides and weather of each hour until then."""
    rng, hours = np.random.default_rng(5), 900
    number = np.arange(hours)
    text = rng.choice(["sun", "rain", "fog", "snow"], hours, p=[0.5, 0.3, 0.15, 0.05])
    temp = [
        None if gap else round(value, 2)
        for gap, value in zip(rng.random(hours) < 0.2, rng.normal(12, 6, hours), strict=True)
    ]
    sky = {"city": rng.choice(["bonn", "ulm"], hours), "text": text, "temp": temp}
    seen = pl.Series(START + number * HOUR).cast(UTC)
    pl.DataFrame({**sky, "seen": seen}).head(until).write_csv(folder / "weather.csv")
    city = rng.choice(["bonn", "ulm", "jena"], hours)
    rides = {
        "ride": number, "city": city, "driver": rng.choice([f"d{i}" for i in range(50)], hours),
        "miles": rng.gamma(2, 3, hours).round(2), "tip": rng.gamma(1, 1, hours) + (city == "ulm"),
        "at": pl.Series(START + number * HOUR + HOUR // 3).cast(UTC),
    }  # fmt: skip
    known = {"driver": [f"d{i}" for i in range(40)], "years": list(range(40)), "name": ["x"] * 40}
    pl.DataFrame(known).write_csv(folder / "drivers.csv")
    pl.DataFrame(rides).head(until).write_csv(folder / "rides.csv")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "tidemill.toml").write_text('project = "tips"\nfiles = ["tips_project.py"]\nexecutor = "inline"\n')
    (tmp_path / "tips_project.py").write_text(PROJECT)
    write_rows(tmp_path, 700)
    before = list(sys.path)
    with threadpool_limits(1):
        yield tmp_path
    sys.path[:] = before
    sys.modules.pop("tips_project", None)


def generation(platform: Platform, version: int, shadow: int | None = None) -> Generation:
    graph = platform.definitions.get("graph", "tips")
    refs = [None if number is None else reference(platform, number) for number in (version, shadow)]
    assert refs[0] is not None
    target = Target(endpoint="tips", number=1, graph=graph.digest(), model=refs[0], shadow=refs[1])
    return compile_generation(
        target, graph, models=platform.registry, features=platform.features, scope=platform.scope
    )  # fmt: skip


def reference(platform: Platform, number: int) -> ModelRef:
    found = platform.registry.get("tips", number)
    return ModelRef(found.model, found.version, found.artifact, found.service)


def requests(running: Generation, rows: pl.DataFrame, **changed: Any) -> pl.DataFrame:
    names = [column.name for column in running.schema.columns]
    texts = rows.select(names).with_columns(pl.col("at").dt.to_string("iso:strict"))
    return running.schema.from_rows([{**row, **changed} for row in texts.to_dicts()])


def test_a_request_is_prepared_as_its_row_was_for_training(folder: Path) -> None:
    clock = ManualClock(START + 700 * HOUR)
    with tm.open(folder, clock=clock) as platform:
        platform.ingest()
        platform.apply()
        platform.pipelines.run("learn")
        clock.set(START + 899 * HOUR)
        write_rows(folder, 890)
        platform.ingest()
        platform.pipelines.run("learn")
        seen = []
        for number in (1, 2):
            version = platform.registry.get("tips", number)
            assert version.dataset is not None
            fitted_on = platform.tracking.datasets.load(version.dataset)
            running = generation(platform, number, shadow=3 - number)
            running.probe(clock.now())
            done = running.run(requests(running, fitted_on.frame), clock.now())
            learned = platform.registry.preparation(version)
            assert learned is not None
            assert learned == fitted_on.preparation
            assert learned.apply(done.rows).equals(learned.apply(fitted_on.frame))
            seen.append((learned.digest, done, running.shadow(done.rows)))
        assert seen[0][0] != seen[1][0]
        # The shadow of one is the model of the other: each prepares the same rows in its own way.
        again = generation(platform, 2).run(requests(running, seen[0][1].rows.drop("prediction_time")), clock.now())
        assert seen[0][2]["shadow_probability"].to_list() == again.outputs["probability"].to_list()


def test_rows_without_a_time_are_prepared_by_the_clock(folder: Path) -> None:
    clock = ManualClock(START + 800 * HOUR)
    with tm.open(folder, clock=clock) as platform:
        platform.ingest()
        platform.pipelines.run("learn")
        running = generation(platform, 1)
        rows = platform.data.scan(platform.definitions.get("source", "rides")).head(3).collect()
        at_once = running.run(requests(running, rows, at=None), clock.now())
        said = running.run(requests(running, rows, at=clock.now()), clock.now())
        assert at_once.outputs.equals(said.outputs)
        assert at_once.rows["at"].to_list() == said.rows["at"].to_list()
        unseen = running.run(requests(running, rows, city="nowhere", driver="new", miles=1e9), clock.now())
        assert unseen.outputs["probability"].is_between(0, 1).all()


def test_the_recipe_is_part_of_what_a_service_is() -> None:
    @tm.on_demand
    def trip(rows: Any) -> Any:
        return rows.select("miles")

    plain, scaled = (
        tm.FeatureService([trip], name="a"),
        tm.FeatureService([trip], name="a", prepare=[tm.scale("miles")]),
    )
    assert plain.digest() != scaled.digest()
    assert (
        msgspec.json.encode(scaled.describe()["prepare"])
        == b'[{"kind":"scale","columns":["miles"],"method":"standard"}]'
    )
    with pytest.raises(tm.TidemillError, match="prepares no features"):
        tm.FeatureService([trip], prepare=["scale"])  # type: ignore[list-item]
