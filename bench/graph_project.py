"""The project that `bench.serving` trains, deploys and asks: ten features in the request, or read by key."""

import polars as pl

import tidemill as tm

FEATURES = [f"x{number}" for number in range(10)]

rides = tm.Source("rides", "rides.parquet", time="at", id="ride")
known = tm.FeatureView(lambda rows: rows.select(*FEATURES), source=rides, keys="station")


@tm.on_demand
def given(rows):
    return rows.select(*FEATURES)


in_request = tm.FeatureService([given])
by_key = tm.FeatureService([known])
fare = tm.Label(rides, pl.col("fare"), known_at="at")


@tm.step
def fit(rows):
    from bench.serving import model

    return model().fit(rows.X, rows.y)


@tm.pipeline
def pipeline_in_request(until=tm.NOW):
    rows = in_request.training_set(spine=rides, label=fare, until=until)
    fit_rows, test_rows = tm.split(rows, by="time", test="12h")
    return tm.promote(tm.search(fit, rows=fit_rows, space={}, trials=1, minimize="rmse"), "in-request", test=test_rows,
                      gate=tm.Gate("rmse"))  # fmt: skip


@tm.pipeline
def pipeline_by_key(until=tm.NOW):
    rows = by_key.training_set(spine=rides, label=fare, until=until)
    fit_rows, test_rows = tm.split(rows, by="time", test="12h")
    return tm.promote(tm.search(fit, rows=fit_rows, space={}, trials=1, minimize="rmse"), "by-key", test=test_rows,
                      gate=tm.Gate("rmse"))  # fmt: skip


graph_in_request = tm.Graph("in-request").enrich(in_request).model("models:/in-request@champion")
graph_by_key = tm.Graph("by-key").enrich(by_key).model("models:/by-key@champion")
