"""A project with half a year behind it: definitions, runs, versions, windows, alarms and decisions, in real stores."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import polars as pl

from tidemill.core.clock import ManualClock, SystemClock
from tidemill.core.records.alerting import Alert, Decision, Notification
from tidemill.core.records.data import Arrival
from tidemill.core.records.events import Event, Lease
from tidemill.core.records.models import Model, ModelVersion
from tidemill.core.records.monitoring import Measurement, MonitorWindow
from tidemill.core.records.serving import Generation
from tidemill.core.settings import load_settings
from tidemill.core.times import to_micros
from tidemill.measures.drift import compare
from tidemill.measures.profiling import profile_like, reference_profile
from tidemill.measures.reference import Reference
from tidemill.platform import Platform

DAY = 86_400_000_000
START = to_micros("2013-04-01")
DAYS = 120
FEATURES = (
    "carrier",
    "origin",
    "distance",
    "hour",
    "airport_weather__temp",
    "airport_weather__visib",
    "carrier_delays__late_mean_24h",
    "airport_delays__late_mean_3h",
)
CODE = """
import polars as pl
import tidemill as tm

flights = tm.Source("flights", None, time="scheduled_at", id="flight_id")

weather = tm.Source("weather", None, time="observed_at", documentation={"columns": {"temp": "Air <b>outside</b>"}})


@tm.feature_view(source=weather, keys="origin", ttl="3h", target="1h", owner="ada", tags=["weather", "<b>sea</b>"],
                 description="What the airport's station saw last.")
def airport_weather(rows):
    return rows.select("temp", "sky")

weather_now = tm.FeatureService([airport_weather], tags=["weather"])

@tm.on_demand
def departure(rows):
    return rows.select("carrier", "origin")

late_flight = tm.FeatureService([departure])
late = tm.Label(flights, pl.col("arr_delay") > 15, known_at="landed_at")

@tm.step
def train(rows, depth: int = 6):
    return depth

@tm.pipeline
def late_flight_pipeline():
    return train(rows=None)

graph = tm.Graph("late-flight").enrich(late_flight).model(
    "models:/late-flight@champion", shadow="models:/late-flight@challenger")

watch = tm.Monitor(graph, label=late, every="1d", false_alarms="1 per month",
                   on_alarm=[tm.notify("team"), tm.retrain(late_flight_pipeline, cooldown="2d")])
"""
GAIN = "roc_auc 0.7412 against 0.7310 on rows since 2013-11-18T00:55:00Z"
NASTY = '<script>alert("run")</script> مرحبا 🌊'


def make_project(folder: Path, *, code: str = CODE, name: str = "flights") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "project_code.py").write_text(code, encoding="utf-8")
    (folder / "tidemill.toml").write_text(
        f'project = "{name}"\nprincipal = "ada"\nfiles = ["project_code.py"]\n\n[channels]\nteam = "console:"\n',
        encoding="utf-8",
    )


@contextmanager
def opened(folder: Path, clock: ManualClock) -> Iterator[Platform]:
    with Platform(load_settings(folder, environ={}), clock=clock) as platform:
        yield platform


def seed(platform: Platform, clock: ManualClock, *, days: int = DAYS) -> None:
    """Live through the days, the slow way: by writing what the services would have written."""
    platform.catalog.apply(platform.definitions)
    platform.serving.deploy(platform.definitions.get("graph", "late-flight"))
    seen = {"origin": ["EWR", "JFK", "EWR"], "temp": [40.5, 41.0, None], "sky": ["grey", NASTY, "grey"]}
    observed = pl.Series("observed_at", [START - 2 * DAY] * 3, pl.Datetime("us", "UTC"))
    platform.push("weather", pl.DataFrame({**seen, "observed_at": observed}))
    platform.features.materialize()
    Seeder(platform, clock).run(days)


class Seeder:
    def __init__(self, platform: Platform, clock: ManualClock) -> None:
        self.platform = platform
        self.clock = clock
        self.random = random.Random(7)
        self.version = 0
        self.reference = reference_profile(self._rows(4000, 0))
        self.evidence = 0.0

    def run(self, days: int) -> None:
        self._arrive()
        self._train("the first training")
        for day in range(days):
            self._window(day)
        with self.platform.tracking.start("nightly", kind="pipeline", params={"until": "now"}) as run:
            run.end("failed", error="Traceback (most recent call last)\nInvalidData: column 'visib' is missing")
        self.platform.tracking.start(NASTY, tags={"team": "<b>sea</b>"}, params={"note": NASTY})
        stamp = self.platform.scope.stamp()
        with self.platform.metadata.write() as writer:
            writer.put(
                Lease(
                    **stamp,
                    name="daemon/flights",
                    holder="here/1",
                    beat_at=SystemClock().now(),
                    expires_at=SystemClock().now() + DAY,
                )
            )

    def _stamp(self) -> dict:
        return self.platform.scope.stamp()

    def _rows(self, rows: int, shift: float) -> dict[str, list]:
        r = self.random
        return {
            "carrier": r.choices(
                ["UA", "B6", "EV", "DL", "AA", "MQ", "US", "9E", "WN", "VX"],
                [58, 54, 54, 48, 32, 26, 20, 18, 12, 5],
                k=rows,
            ),
            "origin": r.choices(["EWR", "JFK", "LGA"], [36, 33, 31 + 40 * max(0.0, shift - 0.4)], k=rows),
            "distance": [r.lognormvariate(6.8, 0.6) for _ in range(rows)],
            "hour": [float(min(23, max(5, round(r.gauss(13, 4))))) for _ in range(rows)],
            "airport_weather__temp": [r.gauss(40 + 16 * shift, 9) if r.random() > 0.01 else None for _ in range(rows)],
            "airport_weather__visib": [min(10.0, r.expovariate(0.2) + 4) for _ in range(rows)],
            "carrier_delays__late_mean_24h": [
                min(1.0, max(0.0, r.gauss(0.22 + 0.05 * shift, 0.08))) for _ in range(rows)
            ],
            "airport_delays__late_mean_3h": [min(1.0, max(0.0, r.gauss(0.22, 0.12))) for _ in range(rows)],
            "prediction": [min(1.0, max(0.0, r.betavariate(2, 6 - 2 * shift))) for _ in range(rows)],
        }

    def _arrive(self) -> None:
        archive = self.platform.artifacts.put(b"flight_id,scheduled_at\\n")
        with self.platform.metadata.write() as writer:
            writer.add(
                Arrival(
                    **self._stamp(),
                    id=self.platform.scope.new_id(),
                    source="flights",
                    origin="flights.csv",
                    archive=archive,
                    size=24,
                    table="sources/flights",
                    table_version=0,
                    rows=80_789,
                    quarantined=3,
                    first_ts=START - 90 * DAY,
                    last_ts=START,
                )
            )
            writer.emit(Event(**self._stamp(), kind="data.arrived", subject="source/flights", body={"rows": 80_789}))

    def _train(self, reason: str) -> None:
        self.version += 1
        tracking = self.platform.tracking
        with tracking.start(
            "late_flight_pipeline",
            kind="pipeline",
            group="late-flight",
            params={"until": "now", "service": f"FeatureService({'view, ' * 50})", "rows": f"dataset/{'ab' * 32}"},
            tags={"reason": reason},
        ) as run:
            self.clock.advance(4_000_000)
            with tracking.start("search", kind="search", parent=run.id, params={"trials": 2}) as search:
                for trial in range(2):
                    with tracking.start(
                        f"trial-{trial}",
                        kind="trial",
                        parent=search.id,
                        params={"learning_rate": 0.05 * (trial + 1), "max_depth": 4 + 2 * trial},
                    ) as one:
                        self.clock.advance(2_500_000)
                        one.log_metrics({"roc_auc": 0.731 + trial / 100, "log_loss": 0.49})
                        one.log_curve(
                            "loss",
                            [0.69 * math.exp(-step / 12) + 0.4 + self.random.random() / 50 for step in range(40)],
                        )
            run.log_input("rows", f"table/sources/flights@{self.version - 1}")
            run.log_output("model", f"model/late-flight/{self.version}")
            run.log_artifact("report.json", b'{"roc_auc": 0.741}')
            run.log_metrics({"roc_auc": 0.7412345, "log_loss": 0.4871, "rows": 80_789})
            run.log_curve("loss", [0.69 * math.exp(-step / 15) + 0.4 for step in range(60)])
            run.set_tag("result", {"promoted": True, "reason": GAIN, "test_span": 28 * DAY})
            self.clock.advance(1_500_000)
        with self.platform.metadata.write() as writer:
            if self.version == 1:
                writer.put(Model(**self._stamp(), name="late-flight"))
            file = self.platform.artifacts.put(f"model {self.version}".encode())
            profile = self.platform.artifacts.put(Reference(profile=self.reference, window=DAY).encode())
            writer.add(
                ModelVersion(
                    **self._stamp(),
                    model="late-flight",
                    version=self.version,
                    run_id=run.id,
                    format="skops",
                    artifact=file,
                    signature={"inputs": [], "outputs": []},
                    metrics={"roc_auc": 0.7412},
                    profile=profile,
                    trained_until=self.clock.now(),
                )
            )
            writer.emit(
                Event(
                    **self._stamp(), kind="version.created", subject="model/late-flight", body={"version": self.version}
                )
            )
            retired = {"project": self.platform.scope.project, "endpoint": "late-flight", "state": "serving"}
            writer.change(Generation, retired, state="retired", ended_at=self.clock.now())
            writer.add(
                Generation(
                    **self._stamp(),
                    endpoint="late-flight",
                    number=self.version,
                    digest=f"{self.version:064x}",
                    state="serving",
                    models={"models:/late-flight@champion": self.version},
                    server="here:77",
                    url="http://127.0.0.1:7879",
                    workers={"0": 4101, "1": 4102},
                )
            )
            writer.emit(
                Event(
                    **self._stamp(),
                    kind="generation.changed",
                    subject="endpoint/late-flight",
                    body={"state": "serving"},
                )
            )
        self.platform.registry.set_alias("late-flight", "champion", self.version, reason=reason)
        with self.platform.metadata.write() as writer:
            if self.version > 1:
                writer.add(
                    Decision(
                        **self._stamp(),
                        id=self.platform.scope.new_id(),
                        subject="model/late-flight",
                        action="promote",
                        run_id=run.id,
                        reason=f"roc_auc 0.7412 against 0.7{18 + self.version} of v{self.version - 1} on unseen rows",
                    )
                )
        self.retrained = self.clock.now()

    def _window(self, day: int) -> None:
        at = START + day * DAY
        self.clock.set(max(self.clock.now(), at + DAY + 60_000_000))
        age = (self.clock.now() - self.retrained) / (60 * DAY)
        rows = 900 + self.random.randrange(120)
        window = profile_like(self.reference, self._rows(rows // 3, min(1.0, day / 110)))
        self.evidence = max(-1.0, self.evidence + self.random.gauss(0.09 * age, 0.12))
        alarm = self.evidence >= math.log10(30)
        auc = 0.745 - 0.035 * age + self.random.gauss(0, 0.018)
        labelled = rows if day < DAYS - 3 else rows * (DAYS - 1 - day) // 3
        self._record(at, rows, labelled, window, alarm, auc)
        if alarm:
            self._alarm(at)

    def _record(self, at, rows, labelled, window, alarm, auc) -> None:
        series = [("evidence", "", self.evidence, alarm)]
        for drift in compare(self.reference, window):
            responsible = alarm and drift.name.startswith(("airport_weather__temp", "carrier_delays"))
            series += [
                ("effect", drift.name, drift.js, False),
                ("js", drift.name, drift.js, False),
                ("psi", drift.name, drift.psi, False),
                ("missing", drift.name, drift.missing_cur, False),
                ("evidence", drift.name, self.evidence - 0.5, responsible),
            ]
        if labelled:
            series += [
                ("roc_auc", "", auc, False),
                ("log_loss", "", 0.62 - 0.18 * auc, False),
                ("gap", "", self.random.gauss(0.01, 0.03), False),
            ]
        series += [("rows", "", float(rows), False), ("label_coverage", "", labelled / rows, False)]
        detail = {
            "version": self.version,
            "status": "ok",
            "metrics": {"roc_auc": auc},
            "alarms": [{"kind": "drift", "window": at, "summary": "moved"}] if alarm else [],
        }
        with self.platform.metadata.write() as writer:
            writer.put(
                MonitorWindow(
                    **self._stamp(),
                    monitor="watch",
                    start_at=at,
                    end_at=at + DAY,
                    revision=1,
                    rows=rows,
                    labelled=labelled,
                    models={str(self.version): rows},
                    profile=self.platform.artifacts.put(msgspec.json.encode(window)),
                    detail=detail,
                )
            )
            writer.put(
                *(
                    Measurement(
                        **self._stamp(),
                        monitor="watch",
                        start_at=at,
                        series=name,
                        feature=feature,
                        value=value,
                        rows=rows,
                        alarm=fired,
                    )
                    for name, feature, value, fired in series
                )
            )

    def _alarm(self, at: int) -> None:
        self.evidence = 0.0
        alert = Alert(
            **self._stamp(),
            id=self.platform.scope.new_id(),
            name="DriftDetected",
            fingerprint=f"{at:x}",
            severity="warning",
            labels={"monitor": "watch", "endpoint": "late-flight"},
            state="firing",
            window_at=at,
            summary="airport_weather__temp and carrier_delays__late_mean_24h left the range of the reference",
        )
        reason = "drift of airport_weather__temp, and the cool-down of 2 days had passed"
        with self.platform.metadata.write() as writer:
            writer.change(
                Alert,
                {"project": self.platform.scope.project, "state": "firing"},
                state="resolved",
                resolved_at=self.clock.now(),
            )
            writer.add(alert)
            writer.emit(
                Event(
                    **self._stamp(),
                    kind="alert.firing",
                    subject=f"alert/{alert.id}",
                    body={"name": alert.name, "summary": alert.summary, "labels": alert.labels},
                )
            )
            writer.add(
                Notification(
                    **self._stamp(),
                    id=self.platform.scope.new_id(),
                    alert_id=alert.id,
                    channel="team",
                    reason="firing",
                    payload={},
                    state="sent",
                    due_at=at,
                )
            )
            action = "retrain" if (self.clock.now() - self.retrained) > 20 * DAY else "skip"
            writer.add(
                Decision(
                    **self._stamp(),
                    id=self.platform.scope.new_id(),
                    subject="monitor/watch",
                    action=action,
                    alert_id=alert.id,
                    reason=reason if action == "retrain" else "the cool-down has not passed yet",
                )
            )
        if action == "retrain":
            self._train("DriftDetected")


def capture(platform: Platform, clock: ManualClock, *, rows: int = 400) -> None:
    """Rows an endpoint answered in the last hours."""
    r = random.Random(3)
    frame = pl.DataFrame(
        {
            "row_id": [f"r{i}" for i in range(rows)],
            "request_id": [f"q{i // 8}" for i in range(rows)],
            "prediction_time": [clock.now() - r.randrange(6 * 3600) * 1_000_000 for _ in range(rows)],
            "received_at": [clock.now() - (i // 8) * 400_000_000 for i in range(rows)],
            "duration_us": [int(1000 * r.lognormvariate(2.2, 0.4)) for _ in range(rows)],
            "model_version": [4] * rows,
            "generation": [4] * rows,
            "prediction": [0] * rows,
            "probability": [r.random() for _ in range(rows)],
        }
    )
    platform.tables.append("captures/late-flight", frame)
