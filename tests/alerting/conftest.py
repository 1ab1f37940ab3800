"""A monitor, its windows, and pipelines that are started for it."""

from __future__ import annotations

import msgspec
import polars as pl
import pytest

import tidemill as tm
from tidemill.alerting.service import Alerting
from tidemill.core.records.alerting import Decision, Notification
from tidemill.core.records.events import Event
from tidemill.core.records.monitoring import MonitorWindow
from tidemill.core.reports import Alarm, WindowReport
from tidemill.core.specs.features import Label
from tidemill.core.specs.monitoring import Monitor, notify, retrain
from tidemill.core.specs.serving import Graph
from tidemill.core.specs.sources import Source
from tidemill.core.times import parse_duration

DAY = parse_duration("1d")


@tm.pipeline
def late_pipeline() -> None:
    """What a retrain starts."""


class Starter:
    """Starts nothing, but once per fingerprint, and ends as told."""

    def __init__(self):
        self.runs = {}
        self.waited = []
        self.ends = {}

    def start(self, pipeline, *, arguments, reason, fingerprint, wait=False):
        assert pipeline == "late_pipeline"
        self.waited.append(wait)
        return self.runs.setdefault(fingerprint, f"run{len(self.runs)}")

    def outcome(self, run_id):
        return self.ends.get(run_id, {"status": "running", "result": None})


@pytest.fixture
def starter():
    return Starter()


class World:
    """Windows that are reported day after day."""

    def __init__(self, scope, metadata, starter, lines):
        self.scope, self.metadata, self.starter, self.lines = scope, metadata, starter, lines
        self.alerting = Alerting(
            scope, metadata=metadata, starter=starter, channels={"team": "console:"}, write=lines.append
        )
        self.day = 0
        self.monitor = make_monitor()

    def window(self, *kinds, labelled=1000, version=1, trained_on=1000, handle=True, event="window.closed"):
        """One day goes by; its window has alarms of these kinds."""
        start = self.scope.now()
        self.scope.clock.advance(DAY)
        alarms = tuple(
            Alarm(
                kind=kind, window=start, summary=f"{kind} on day {self.day}", features=("temp",), model_version=version
            )
            for kind in kinds
        )
        report = WindowReport(monitor="watch", endpoint="late", start=start, end=start + DAY, revision=1, status="ok",
                              rows=labelled, labelled=labelled, version=version, trained_on=trained_on,
                              alarms=alarms)  # fmt: skip
        stamp = self.scope.stamp()
        with self.metadata.write() as writer:
            writer.put(MonitorWindow(**stamp, monitor="watch", start_at=start, end_at=start + DAY, revision=1,
                                     rows=labelled, labelled=labelled))  # fmt: skip
            writer.emit(Event(**stamp, kind=event, subject="monitor/watch", body=msgspec.to_builtins(report)))
        self.day += 1
        return self.alerting.handle(self.monitor, [report]) if handle else [report]

    def said(self):
        """(channel, reason) of every notification, in order."""
        with self.metadata.read() as reader:
            return [(one.channel, one.reason) for one in reader.find(Notification, order=["created_at", "id"])]

    def promote(self, run, action="promote", reason="0.75 against 0.71"):
        """What the gate of a pipeline run writes."""
        with self.metadata.write() as writer:
            writer.add(Decision(**self.scope.stamp(), id=self.scope.new_id(), subject="model/late", action=action,
                                reason=reason, run_id=run))  # fmt: skip
        self.starter.ends[run] = {"status": "finished", "result": None}


def make_monitor(cooldown="2d", **options):
    label = Label(Source("flights", "x.csv", time="at", id="flight"), pl.col("late"), name="late")
    graph = Graph("late").model("models:/late@champion")
    actions = [notify("team"), retrain(late_pipeline, cooldown=cooldown)]
    return Monitor(graph, **{"label": label, "on_alarm": actions, "name": "watch", **options})


@pytest.fixture
def world(scope, metadata, starter):
    return World(scope, metadata, starter, [])
