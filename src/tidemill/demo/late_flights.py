"""Which flights will land late? One model's whole life in one file."""

import polars as pl

import tidemill as tm

# 1 -- Ingest and process ----------------------------------------------------------------
flights = tm.Source("flights", "data/flights.parquet", time="scheduled_at", id="flight_id")
landings = tm.Source("landings", "data/flights.parquet", time="landed_at", id="flight_id")
weather = tm.Source("weather", "data/weather.csv", time="observed_at")
planes = tm.Source("planes", "data/planes.csv")  # reference data: no time


@tm.feature_view(source=weather, keys="origin", ttl="3h", checks=[tm.check("visib").between(0, 10)])
def airport_weather(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.select("temp", "humid", "pressure", "precip", "wind_speed", "visib")


def lateness(rows: pl.LazyFrame) -> pl.LazyFrame:  # known only once landed: no leak
    return rows.with_columns(late=pl.col("arr_delay") > 15)


carrier_delays = tm.FeatureView(lateness, source=landings, keys="carrier", aggregates=[tm.mean("late", over="24h")])
airport_delays = tm.FeatureView(
    lateness, source=landings, keys="origin", aggregates=[tm.mean("late", over=["1h", "3h"])]
)
route_delays = tm.FeatureView(
    lateness, source=landings, keys=["carrier", "origin"], aggregates=[tm.mean("late", over="6h")]
)


@tm.on_demand  # from the request itself
def departure(rows: pl.LazyFrame) -> pl.LazyFrame:
    at = pl.col("scheduled_at")
    return rows.select("carrier", "origin", "dest", "distance", hour=at.dt.hour(), weekday=at.dt.weekday())


late_flight = tm.FeatureService([airport_weather, carrier_delays, airport_delays, route_delays, departure])
late = tm.Label(flights, pl.col("arr_delay") > 15, known_at="landed_at")  # a label has a time of its own


# 2 -- Develop and train -----------------------------------------------------------------
@tm.step
def train(rows: tm.Dataset, learning_rate: float = 0.1, max_depth: int = 6):
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(learning_rate=learning_rate, max_depth=max_depth).fit(rows.X, rows.y)


@tm.pipeline(triggers=[tm.on_change(carrier_delays)])
def late_flight_pipeline(until: tm.Time = tm.NOW):
    rows = late_flight.training_set(spine=flights, label=late, until=until)
    fit_rows, test_rows = tm.split(rows, by="time", test="28d")
    best = tm.search(
        train,
        rows=fit_rows,
        space={"learning_rate": tm.log_uniform(0.01, 0.3), "max_depth": [4, 6, 8]},
        trials=20,
        maximize="roc_auc",
    )
    return tm.promote(best, "late-flight", test=test_rows, gate=tm.Gate("roc_auc", min_gain=0.0), refit=rows)


# 3 -- Deploy ----------------------------------------------------------------------------
graph = (
    tm.Graph("late-flight")
    .enrich(late_flight)  # online features, by key
    .model("models:/late-flight@champion", shadow="models:/late-flight@challenger")
)

# 4 -- Monitor ---------------------------------------------------------------------------
watch = tm.Monitor(
    graph,
    label=late,
    every="1d",
    false_alarms="1 per month",
    on_alarm=[tm.notify("team"), tm.retrain(late_flight_pipeline, cooldown="2d")],
)
