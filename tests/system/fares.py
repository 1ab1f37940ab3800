"""A small project: what a ride costs, by station and distance. Trained and deployed in a second."""

import polars as pl

import tidemill as tm

rides = tm.Source("rides", "rides.csv", time="at", id="ride")
stations = tm.FeatureView(
    source=rides, keys="station", aggregates=[tm.mean("fare", over="7d"), tm.count("fare", over="7d")]
)


@tm.on_demand
def way(rows):
    return rows.select("distance")


features = tm.FeatureService([stations, way])
fare = tm.Label(rides, pl.col("fare"), known_at="at")


@tm.step
def fit(rows):
    from sklearn.tree import DecisionTreeRegressor

    return DecisionTreeRegressor(max_depth=4, random_state=0).fit(rows.X, rows.y)


@tm.pipeline
def fare_pipeline(until=tm.NOW):
    rows = features.training_set(spine=rides, label=fare, until=until)
    fit_rows, test_rows = tm.split(rows, by="time", test="12h")
    best = tm.search(fit, rows=fit_rows, space={}, trials=1, minimize="rmse")
    return tm.promote(best, "fares", test=test_rows, gate=tm.Gate("rmse"), refit=rows)


graph = tm.Graph("fares").enrich(features).model("models:/fares@champion")
watch = tm.Monitor(graph, label=fare, every="1d", on_alarm=[tm.notify("team")])
