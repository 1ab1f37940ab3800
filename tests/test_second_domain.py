"""Another domain, nothing special-cased: hourly bike rentals, a regression, through the same loop over the same servers."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import tidemill as tm
from tidemill.core.clock import SharedClock
from tidemill.core.times import to_micros
from tidemill.daemon import Daemon

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("TIDEMILL_TEST_DATA", ROOT.parent / "shared" / "data")) / "bike_sharing_hour.csv"
TRAINED_UNTIL, HOUR = to_micros("2012-03-01"), 3_600_000_000

PROJECT = '''
"""How many bikes will be rented in an hour?"""
import polars as pl
import tidemill as tm


def with_times(rows):
    at = pl.col("dteday").cast(pl.String).str.to_datetime("%Y-%m-%d", time_zone="UTC") + pl.duration(hours=pl.col("hr"))
    return rows.with_columns(at=at, counted_at=at + pl.duration(hours=1), city=pl.lit("dc"))


TYPES = {"instant": "int64"}  # one id of the file has a damaged digit: the row goes to quarantine, the rest is taken
rides = tm.Source("rides", "rides.csv", time="at", id="instant", clean=with_times, types=TYPES,
                  checks=[tm.check("hum").between(0.01, 1), tm.check("cnt").between(0, 5000)])
counted = tm.Source("counted", "rides.csv", time="counted_at", id="instant", clean=with_times, types=TYPES)

means = [tm.mean("cnt", over=["3h", "24h", "7d"]), tm.last("cnt", over="1d")]
demand = tm.FeatureView(source=counted, keys="city", aggregates=means)
by_hour = tm.FeatureView(source=counted, keys=["city", "hr"], aggregates=[tm.mean("cnt", over="14d")])


@tm.on_demand
def weather(rows):
    return rows.select("hr", "workingday", "temp", "hum", "windspeed", "weathersit")


rentals = tm.FeatureService([demand, by_hour, weather])
count = tm.Label(rides, pl.col("cnt").cast(pl.Float64), known_at="counted_at")


@tm.step
def fit(rows, learning_rate=0.1, max_depth=6):
    from sklearn.ensemble import HistGradientBoostingRegressor
    model = HistGradientBoostingRegressor(learning_rate=learning_rate, max_depth=max_depth, max_iter=60)
    return model.fit(rows.X, rows.y)


@tm.pipeline
def rental_pipeline(until=tm.NOW):
    rows = rentals.training_set(spine=rides, label=count, until=until)
    fit_rows, test_rows = tm.split(rows, by="time", test="21d")
    best = tm.search(fit, rows=fit_rows, space={"max_depth": [4, 8]}, trials=2, minimize="rmse")
    return tm.promote(best, "rentals", test=test_rows, gate=tm.Gate("rmse"), refit=rows)


graph = tm.Graph("rentals").enrich(rentals).model("models:/rentals@champion")
actions = [tm.notify("team"), tm.retrain(rental_pipeline, cooldown="2d")]
watch = tm.Monitor(graph, label=count, every="1d", tolerance=0.02, on_alarm=actions)
'''
SETTINGS = 'files = ["rides_project.py"]\nclock = "shared:clock"\nexecutor = "inline"\n[channels]\nteam = "console:"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if not DATA.is_file():
        if os.environ.get("TIDEMILL_REQUIRE_SERVICES") == "1":
            pytest.fail(f"{DATA.name} is missing; set TIDEMILL_TEST_DATA")
        pytest.skip(f"{DATA.name} is not there; set TIDEMILL_TEST_DATA")
    (tmp_path / "rides_project.py").write_text(PROJECT)
    (tmp_path / "tidemill.toml").write_text(f'project = "bikes"\n{SETTINGS}')
    rows = DATA.read_text().splitlines(keepends=True)
    early = [row for row in rows[1:] if row.split(",")[1] < "2012-03-01"]
    (tmp_path / "rides.csv").write_text("".join([rows[0], *early]))
    SharedClock(tmp_path / ".tidemill" / "clock").set(TRAINED_UNTIL)
    return tmp_path


def later_rows() -> pl.DataFrame:
    at = pl.col("dteday").str.to_datetime("%Y-%m-%d", time_zone="UTC") + pl.duration(hours=pl.col("hr"))
    rows = pl.read_csv(DATA, infer_schema_length=None).with_columns(pl.col("instant").cast(pl.Int64, strict=False))
    later = rows.filter(pl.col("dteday") >= "2012-03-01")
    return later.with_columns(at=at, counted_at=at + pl.duration(hours=1), city=pl.lit("dc"))


@contextmanager
def served(folder: Path) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "tidemill",
        "serve",
        "--port",
        str(port),
        "--workers",
        "2",
        "--project",
        str(folder),
    ]
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: ready(port), folder / "serve.log")
        yield port
    finally:
        process.terminate()
        assert process.wait(30) == 0


def wait_until(done: Any, log: Path) -> None:
    ends = time.monotonic() + 90
    while not done():
        assert time.monotonic() < ends, log.read_text()
        time.sleep(0.1)


def ready(port: int) -> bool:
    try:
        return ask(port, "GET", "/v2/health/ready")[0] == 200
    except OSError:
        return False


def ask(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    payload = response.read()
    connection.close()
    return response.status, json.loads(payload or b"null")


def request_rows(rows: pl.DataFrame) -> list[dict[str, Any]]:
    names = ["instant", "at", "city", "hr", "workingday", "temp", "hum", "windspeed", "weathersit"]
    return [{**row, "at": row["at"].isoformat()} for row in rows.select(names).to_dicts()]


@pytest.mark.parametrize("days", [70, pytest.param(120, marks=pytest.mark.slow)])
def test_the_same_loop_carries_a_regression(folder: Path, days: int) -> None:
    clock = SharedClock(folder / ".tidemill" / "clock")
    with tm.open(folder) as platform:
        arrivals = {arrival.source: arrival for arrival in platform.ingest()}
        assert arrivals["rides"].quarantined > 0, "hours without humidity are in the real data"
        platform.apply()
        first = platform.pipelines.run("rental_pipeline")
        assert first.result["promoted"]
        rows = later_rows().head(24 * days)
        with served(folder) as port, Daemon(platform, every=None, wait=True) as daemon:
            errors, decisions, alarms = [], [], 0
            for day in rows.partition_by("dteday", maintain_order=True):
                clock.set(to_micros(day["counted_at"].max()))
                platform.push("counted", day)
                status, answer = ask(port, "POST", "/predict/rentals", {"rows": request_rows(day)})
                assert status == 200, answer
                predicted = [row["prediction"] for row in answer["predictions"]]
                errors.append(float((pl.Series(predicted) - day["cnt"]).abs().mean()))
                platform.push("rides", day.filter(pl.col("hum") > 0))
                tick = daemon.tick()
                decisions += tick.decisions
                alarms += sum(len(report.alarms) for report in tick.reports)
        spring = rows["cnt"].mean()
        assert sum(errors) / len(errors) < 0.5 * spring, "the model predicts demand"
        assert alarms > 0, "a growing city leaves the model behind"
        assert "retrain" in {decision.action for decision in decisions}
        assert platform.registry.alias("rentals", "champion") is not None
        assert len(platform.registry.versions("rentals")) > 2
