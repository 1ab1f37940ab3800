"""Two domains at a realistic size, against what Polars' own operations say where they say the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from polars.testing import assert_series_equal
from tests.features.tables import HOUR, UTC, Tables

from tidemill.core.clock import ManualClock
from tidemill.core.specs import aggregates as agg
from tidemill.core.specs.features import FeatureService, FeatureView, Label, on_demand
from tidemill.core.specs.sources import Source
from tidemill.features.offline import offline_features
from tidemill.features.training import TrainingSets
from tidemill.tracking.dataset import Dataset, build

DAY = 24 * HOUR


def keep(frame: pl.DataFrame, **facts: Any) -> Dataset:
    return build(frame, parent=None, split=None, **facts)[0]


def bikes() -> pl.DataFrame:
    """Rentals per hour and station over 60 days, some hours missing."""
    random = np.random.default_rng(11)
    hours = pl.DataFrame({"at": np.arange(60 * 24) * HOUR}).join(pl.DataFrame({"station": [1, 2, 3]}), how="cross")
    kept = hours.filter(pl.Series(random.random(hours.height) > 0.1))
    return kept.with_columns(
        pl.col("at").cast(UTC),
        rentals=pl.Series(random.poisson(30, kept.height)),
        temp=pl.Series(random.normal(12, 8, kept.height)),
        hour_id=pl.concat_str("station", pl.lit("/"), "at"),
    )


def test_bikes_by_the_hour() -> None:
    rentals = Source("rentals", time="at", id="hour_id")
    usual = FeatureView(
        None, source=rentals, keys="station", name="usual",
        aggregates=[agg.mean("rentals", over=["3h", "24h"]), agg.max("temp", over="7d"), agg.last("rentals", name="before")],
    )  # fmt: skip

    @on_demand
    def calendar(rows: Any) -> Any:
        return rows.select("temp", hour=pl.col("at").dt.hour())

    tables = Tables()
    rows = bikes()
    tables.add(rentals, rows.sample(fraction=1.0, shuffle=True, seed=1))
    sets = TrainingSets(clock=ManualClock(90 * DAY), reader=tables.reader, save=keep)
    arguments: dict[str, Any] = {
        "service": FeatureService([usual, calendar], name="bikes"), "spine": rentals,
        "label": Label(rentals, pl.col("rentals"), name="demand"),
    }  # fmt: skip
    dataset = sets.training_set(**arguments, until=61 * DAY)

    by = rows.sort("station", "at")
    rolling = {
        "usual__rentals_mean_3h": pl.col("rentals").rolling_mean_by("at", "3h", closed="left"),
        "usual__rentals_mean_24h": pl.col("rentals").rolling_mean_by("at", "24h", closed="left"),
        "usual__temp_max_7d": pl.col("temp").rolling_max_by("at", "7d", closed="left"),
        "usual__before": pl.col("rentals").shift(1),
    }
    expected = by.with_columns(**{name: expression.over("station") for name, expression in rolling.items()})
    found = dataset.frame.sort("station", "at")
    assert found["hour_id"].to_list() == expected["hour_id"].to_list()
    for name in rolling:
        assert_series_equal(found[name], expected[name], rel_tol=1e-12)
    assert found["demand"].to_list() == expected["rentals"].to_list()
    assert dataset.frame["at"].is_sorted()
    again = sets.training_set(**arguments, until=61 * DAY)
    assert again.digest == dataset.digest
    assert sets.training_set(**arguments, until=30 * DAY).digest != dataset.digest


def test_flights_and_the_weather_before_them() -> None:
    random = np.random.default_rng(5)
    airports = ["EWR", "JFK", "LGA"]
    observed = pl.DataFrame({"at": np.repeat(np.arange(30 * 24) * HOUR, 3), "origin": airports * (30 * 24)})
    observed = observed.with_columns(pl.col("at").cast(UTC), temp=pl.Series(random.normal(size=observed.height)))
    observed = observed.filter(pl.Series(random.random(observed.height) > 0.2))
    weather = Source("weather", time="at")
    view = FeatureView(lambda rows: rows.select("temp"), source=weather, keys="origin", ttl="3h", name="w")
    tables = Tables()
    tables.add(weather, observed)
    spine = pl.DataFrame({"origin": random.choice([*airports, "BOS"], 5000), "t": random.integers(0, 30 * DAY, 5000)})
    spine = spine.with_columns(pl.col("t").cast(UTC))
    found = offline_features(FeatureService([view]), spine, "t", tables.scan)
    by_polars = spine.with_row_index().sort("t").join_asof(
        observed.sort("at"), left_on="t", right_on="at", by="origin", tolerance="3h", check_sortedness=False
    ).sort("index")  # fmt: skip
    assert found["w__temp"].to_list() == by_polars["temp"].to_list()
    assert 0 < found["w__temp"].null_count() < 5000
