from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest

from tidemill.core.errors import NotFound
from tidemill.core.ids import digest_bytes
from tidemill.core.protocols import Captured
from tidemill.core.records.events import Event
from tidemill.core.records.monitoring import Measurement, MonitorState, MonitorWindow
from tidemill.core.specs.features import Label
from tidemill.core.specs.monitoring import Monitor
from tidemill.core.specs.serving import Graph
from tidemill.core.specs.sources import Source
from tidemill.measures.blocks import block_values
from tidemill.measures.profiling import profile_frame
from tidemill.measures.reference import Reference
from tidemill.monitoring.capture import StreamCapture
from tidemill.monitoring.service import Monitoring
from tidemill.stores.metadata.open import open_metadata

DAY = 86_400_000_000
T0 = 19_723 * DAY  # 2024-01-01
LATE = Label(Source("flights", "x.csv", time="at", id="flight"), pl.col("late"), name="late")


def monitor(**options):
    graph = Graph("late").model("models:/late@champion")
    return Monitor(graph, **{"label": LATE, "name": "watch", **options})


def features(rng, rows):
    x = rng.normal(0, 1, rows)
    return pl.DataFrame(
        {"x": x, "z": rng.normal(0, 1, rows), "kind": rng.choice(["a", "b", "c"], rows), "prediction": chance(x)}
    )


def chance(x):
    return 1 / (1 + np.exp(1 - x))


def reference(rng, *, days=30, rows=100, window=DAY, metrics=None, loss=None):
    parts = [features(rng, rows) for _ in range(days)]
    profile = profile_frame(pl.concat(parts))
    blocks = block_values(profile, [profile_frame(part, profile) for part in parts]) if window else {}
    return Reference(profile=profile, window=window, blocks=blocks, metrics=metrics or {}, baseline_loss=loss)


class Profiles:
    """References by version."""

    def __init__(self):
        self.kept = {}

    def reference(self, model, version):
        assert model == "late"
        found = self.kept.get(version)
        return None if found is None else found.encode()


@pytest.fixture
def profiles():
    kept = Profiles()
    kept.kept[1] = reference(np.random.default_rng(1))
    kept.kept[2] = reference(np.random.default_rng(2))
    return kept


def nothing(source):
    raise NotFound("no rows yet")


@pytest.fixture
def monitoring(scope, metadata, artifacts, tables, streams, profiles):
    return Monitoring(
        scope, metadata=metadata, artifacts=artifacts, tables=tables, streams=streams, profiles=profiles, scan=nothing
    )


class Traffic:
    """Days of requests, and what came true of them."""

    def __init__(self, streams, monitoring, seed=7):
        self.rng = np.random.default_rng(seed)
        self.sink = StreamCapture(streams, "w0")
        self.monitoring = monitoring

    def day(self, number, rows=100, version=1, change=None, **columns):
        frame = features(self.rng, rows)
        truth = self.rng.random(rows) < frame["prediction"].to_numpy()
        if change is not None:
            frame = change(frame)
        at = T0 + number * DAY
        frame = frame.with_columns(
            pl.Series("row_id", [f"d{number}-{i}" for i in range(rows)]),
            pl.Series("prediction_time", np.linspace(at, at + DAY - 1, rows).astype(np.int64)),
            pl.col("prediction").alias("probability"),
            (pl.col("prediction") > 0.5).cast(pl.Int64).alias("prediction"),
            pl.lit(version, pl.Int64).alias("model_version"),
            **columns,
        )
        self.sink.append(Captured("late", 1, f"q{number}", at + DAY - 1, 5, frame))
        return dict(zip(frame["row_id"], truth.tolist(), strict=True))

    def labels(self, truth, known_at):
        rows = [{"id": name, "label": value, "known_at": known_at} for name, value in truth.items()]
        return self.monitoring.post_labels("late", rows)


@pytest.fixture
def traffic(streams, monitoring):
    return Traffic(streams, monitoring)


def shifted(by):
    return lambda frame: frame.with_columns(pl.col("x") + by)


def measured(metadata, start, **where):
    with metadata.read() as reader:
        found = reader.find(Measurement, {"project": "bikes", "start_at": start, **where})
    return {(one.series, one.feature): one.value for one in found}


def test_only_complete_windows_are_closed_and_only_once(monitoring, traffic):
    for number in (0, 1, 2):
        traffic.day(number)
    reports = monitoring.close(monitor(), until=T0 + 2 * DAY + 5)
    assert [(one.start, one.rows, one.status, one.models) for one in reports] == [
        (T0, 100, "ok", {"1": 100}), (T0 + DAY, 100, "ok", {"1": 100})
    ]  # fmt: skip
    assert monitoring.close(monitor(), until=T0 + 2 * DAY + 5) == []
    assert [one.start for one in monitoring.close(monitor(), until=T0 + 3 * DAY)] == [T0 + 2 * DAY]


def test_nothing_captured_is_nothing_closed(monitoring):
    assert monitoring.close(monitor()) == []


def test_without_until_the_clock_decides(monitoring, traffic, clock):
    traffic.day(0)
    assert monitoring.close(monitor()) == []
    clock.set(T0 + DAY)
    assert len(monitoring.close(monitor())) == 1


def test_a_tiny_window_says_so_and_adds_no_evidence(monitoring, traffic, metadata):
    traffic.day(0, rows=3)
    (report,) = monitoring.close(monitor(), until=T0 + DAY)
    assert (report.status, report.rows, report.alarms) == ("insufficient_data", 3, ())
    assert ("evidence", "") not in measured(metadata, T0)


def test_a_version_without_reference_is_counted(monitoring, traffic):
    traffic.labels(traffic.day(0, version=9), T0 + 5)
    (report,) = monitoring.close(monitor(), until=T0 + DAY)
    assert report.models == {"9": 100}
    assert report.metrics["roc_auc"] > 0.5


def test_rows_without_a_model_or_features_do_not_stop_it(monitoring, streams, metadata):
    frame = pl.DataFrame({"row_id": ["a"] * 40, "prediction_time": [T0] * 40, "model_version": [1] * 40})
    StreamCapture(streams, "w").append(Captured("late", 1, "q", T0, 1, frame))
    StreamCapture(streams, "w").append(
        Captured("late", 1, "q", T0, 1, frame.select("row_id", pl.lit(T0 + DAY).alias("prediction_time")))
    )
    reports = monitoring.close(monitor(), until=T0 + 2 * DAY)
    assert [one.rows for one in reports] == [40, 40]
    assert measured(metadata, T0)[("missing", "x")] == 1.0


def test_the_feature_that_moved_is_named(monitoring, traffic, metadata):
    for number in range(12):
        traffic.day(number, change=shifted(2.5) if number >= 4 else None)
    reports = monitoring.close(monitor(), until=T0 + 12 * DAY)
    (first, *_) = alarms = [alarm for one in reports for alarm in one.alarms]
    assert first.kind == "drift"
    assert first.features == ("x",)
    assert first.window >= T0 + 4 * DAY
    assert "x (" in first.summary
    assert first.effect > 0.1
    assert len(alarms) <= 2  # the evidence starts again after each
    values = measured(metadata, first.window, alarm=True)
    assert set(values) == {("evidence", ""), ("evidence", "x")}


def test_a_feature_that_vanished_is_named(monitoring, traffic):
    for number in range(12):
        traffic.day(number, change=lambda frame: frame.with_columns(pl.lit(None, pl.Float64).alias("z")))
    reports = monitoring.close(monitor(), until=T0 + 12 * DAY)
    (first, *_) = [alarm for one in reports for alarm in one.alarms]
    assert first.features == ("z",)


def test_without_windows_of_the_reference_rows_are_the_evidence(monitoring, traffic, profiles):
    profiles.kept[1] = reference(np.random.default_rng(3), window=0)
    for number in range(3):
        traffic.day(number, change=lambda f: f.with_columns(kind=pl.lit("never seen")))
    reports = monitoring.close(monitor(), until=T0 + 3 * DAY)
    assert reports[0].alarms[0].features == ("kind",)


def test_windows_shorter_than_the_references_are_ranked_among_themselves(monitoring, streams):
    rng, hour, sink = np.random.default_rng(11), DAY // 24, StreamCapture(streams, "w")
    for number in range(90):
        frame = features(rng, 40).with_columns(
            pl.col("x") + (2.0 if number >= 60 else 0.0),
            row_id=pl.lit("r"), prediction_time=pl.lit(T0 + number * hour), model_version=pl.lit(1, pl.Int64),
        )  # fmt: skip
        sink.append(Captured("late", 1, "q", T0 + number * hour, 1, frame))
    reports = monitoring.close(monitor(every="1h", false_alarms="1 per day"), until=T0 + 90 * hour)
    alarms = [alarm for one in reports for alarm in one.alarms]
    assert alarms[0].features == ("x",)
    assert T0 + 60 * hour <= alarms[0].window


def test_an_effect_that_does_not_matter_is_no_alarm(monitoring, traffic):
    for number in range(15):
        traffic.day(number, change=shifted(2.5))
    reports = monitoring.close(monitor(effect=0.99), until=T0 + 15 * DAY)
    assert [one.alarms for one in reports] == [()] * 15


def test_labels_that_come_late_open_their_window_again(monitoring, traffic, metadata):
    truth = traffic.day(0)
    early = dict(list(truth.items())[:40])
    traffic.labels(early, T0 + 5)
    (report,) = monitoring.close(monitor(), until=T0 + DAY)
    assert (report.labelled, report.revision) == (40, 1)
    traffic.labels(truth, T0 + 3 * DAY)
    assert monitoring.close(monitor(), until=T0 + 2 * DAY) == []
    (report,) = monitoring.close(monitor(), until=T0 + 3 * DAY)
    assert (report.labelled, report.revision) == (100, 2)
    assert measured(metadata, T0)[("label_coverage", "")] == 1.0
    assert ("psi", "x") in measured(metadata, T0)
    assert monitoring.close(monitor(), until=T0 + 3 * DAY) == []


def test_a_corrected_label_measures_again_and_a_repeated_one_does_not(monitoring, traffic):
    truth = traffic.day(0)
    traffic.labels(truth, T0 + 5)
    monitoring.close(monitor(), until=T0 + DAY)
    traffic.labels(truth, T0 + 6)
    assert monitoring.close(monitor(), until=T0 + DAY) == []
    traffic.labels({name: not value for name, value in truth.items()}, T0 + 7)
    (report,) = monitoring.close(monitor(), until=T0 + DAY)
    assert report.revision == 2
    assert report.metrics["roc_auc"] < 0.5


def test_rows_that_come_late_are_counted(monitoring, traffic):
    traffic.day(0)
    monitoring.close(monitor(), until=T0 + DAY)
    frame = pl.DataFrame({"row_id": ["late"], "prediction_time": [T0 + 9], "model_version": [1]})
    traffic.sink.append(Captured("late", 1, "q", T0 + 2 * DAY, 1, frame))
    (report,) = monitoring.close(monitor(), until=T0 + DAY)
    assert (report.rows, report.revision) == (101, 2)


def test_promises_that_are_not_kept_give_alarm(monitoring, traffic):
    for number in range(14):
        truth = traffic.day(number)
        worse = {name: bool(value or traffic.rng.random() < 0.5) for name, value in truth.items()}
        traffic.labels(worse if number >= 3 else truth, T0 + number * DAY + 5)
    reports = monitoring.close(monitor(), until=T0 + 15 * DAY)
    (alarm, *_) = [alarm for one in reports for alarm in one.alarms]
    assert alarm.kind == "performance"
    assert alarm.effect > 0.05
    assert alarm.harm > 1
    assert "less than comes true" in alarm.summary


def test_a_regression_is_held_to_its_loss(scope, metadata, artifacts, tables, streams, monitoring, profiles):
    rng = np.random.default_rng(5)
    profiles.kept[1] = reference(rng, metrics={"mae": 1.0}, loss=0.1)
    sink = StreamCapture(streams, "w")
    for number in range(12):
        truth = rng.normal(20, 5, 60)
        error = rng.normal(0, 1.2 if number < 4 else 4, 60)
        at = T0 + number * DAY
        frame = pl.DataFrame({"row_id": [f"{number}-{i}" for i in range(60)], "prediction_time": [at] * 60,
                              "prediction": truth + error, "model_version": [1] * 60})  # fmt: skip
        sink.append(Captured("late", 1, "q", at, 1, frame))
        rows = [{"id": f"{number}-{i}", "label": float(y), "known_at": at} for i, y in enumerate(truth)]
        monitoring.post_labels("late", rows)
    reports = monitoring.close(monitor(tolerance=0.2), until=T0 + 14 * DAY)
    alarms = [alarm for one in reports for alarm in one.alarms if alarm.kind == "performance"]
    assert alarms
    assert alarms[0].window >= T0 + 4 * DAY
    assert alarms[0].effect > 0.12
    assert reports[0].metrics["mae"] == pytest.approx(0.96, abs=0.2)


def test_a_new_version_starts_without_evidence(monitoring, traffic, metadata):
    for number in range(4):
        traffic.day(number, change=shifted(2.5))
    traffic.day(4, version=2)
    reports = monitoring.close(monitor(), until=T0 + 5 * DAY)
    before, after = measured(metadata, T0 + 3 * DAY), measured(metadata, T0 + 4 * DAY)
    assert before[("evidence", "x")] > 1
    assert after[("evidence", "x")] < 1
    assert reports[-1].models == {"2": 100}
    with metadata.read() as reader:
        states = reader.find(MonitorState, {"monitor": "watch"})
    assert len(states) == 2


def test_a_window_with_two_versions_is_held_against_the_newer(monitoring, streams, traffic):
    traffic.labels(traffic.day(0), T0 + 5)
    frame = pl.DataFrame(
        {"row_id": ["n"], "prediction_time": [T0 + DAY - 1], "model_version": [2], "probability": [0.5]}
    )
    traffic.sink.append(Captured("late", 2, "q", T0 + DAY, 1, frame))
    (report,) = monitoring.close(monitor(), until=T0 + DAY)
    assert report.models == {"1": 100, "2": 1}
    assert monitoring.performance("watch").versions == [2]


# -- the source's own labels -----------------------------------------------------------------------


def test_labels_of_the_source_need_not_be_posted(scope, metadata, artifacts, tables, streams, profiles):
    rows = []

    def scan(source):
        return pl.LazyFrame(
            rows,
            schema={
                "flight": pl.String,
                "delay": pl.Float64,
                "landed": pl.Datetime("us", "UTC"),
                "ingest_seq": pl.Int64,
            },
            orient="row",
        )

    label = Label(
        Source("flights", "x.csv", time="at", id="flight"), pl.col("delay") > 15, known_at="landed", name="late"
    )
    monitoring = Monitoring(
        scope, metadata=metadata, artifacts=artifacts, tables=tables, streams=streams, profiles=profiles, scan=scan
    )
    truth = Traffic(streams, monitoring).day(0)
    rows += [(name, 20.0 if value else 1.0, T0 + 7, i) for i, (name, value) in enumerate(truth.items())][:60]
    rows += [("d0-99", 20.0, None, 98), ("d0-98", None, T0 + 7, 99)]
    (report,) = monitoring.close(monitor(label=label), until=T0 + DAY)
    assert report.labelled == 60
    rows.append(("d0-97", 20.0, T0 + 8, 100))
    (report,) = monitoring.close(monitor(label=label), until=T0 + DAY)
    assert (report.labelled, report.revision) == (61, 2)


# -- crashes ---------------------------------------------------------------------------------------


def written(metadata):
    """All that closing wrote, without ids and times."""
    with metadata.read() as reader:
        windows = reader.find(MonitorWindow, order=["start_at"])
        series = reader.find(Measurement, order=["start_at", "series", "feature"])
        states = reader.find(MonitorState)
        events = [one for one in reader.find(Event, order=["seq"]) if one.kind.startswith("window.")]
    keep = [(one.start_at, one.rows, one.labelled, one.detail, one.profile) for one in windows]
    numbers = [(one.start_at, one.series, one.feature, one.value, one.alarm) for one in series]
    alarms = [(e.body["start"], a["kind"]) for e in events if e.kind != "window.measured" for a in e.body["alarms"]]
    return digest_bytes(msgspec.json.encode([keep, numbers, [one.state for one in states], alarms]))


class Killed(Exception):
    pass


@pytest.mark.parametrize("survives", [0, 1, 2, 5, 9, 10])
def test_killed_between_any_two_writes_it_ends_the_same(
    scope, tmp_path, artifacts, tables, streams, profiles, survives
):
    whole, broken = (open_metadata(f"sqlite:///{name}.db", tmp_path) for name in ("whole", "broken"))

    def service(store):
        return Monitoring(
            scope, metadata=store, artifacts=artifacts, tables=tables, streams=streams, profiles=profiles, scan=nothing
        )

    traffic = Traffic(streams, service(whole))
    for number in range(10):
        traffic.labels(traffic.day(number, change=shifted(2.5) if number > 2 else None), T0 + number * DAY + 5)
    service(whole).close(monitor(), until=T0 + 10 * DAY)

    class Dying:
        """A store whose process is killed before a write."""

        def __init__(self):
            self.left = survives

        def read(self):
            return broken.read()

        def write(self):
            if self.left == 0:
                raise Killed
            self.left -= 1
            return broken.write()

    with pytest.raises(Killed):
        service(Dying()).close(monitor(), until=T0 + 10 * DAY)
    service(broken).close(monitor(), until=T0 + 10 * DAY)
    assert written(broken) == written(whole)
    whole.close()
    broken.close()


# -- pages -----------------------------------------------------------------------------------------


def test_pages_of_a_monitor_without_windows_are_empty(monitoring):
    assert monitoring.heatmap("watch").features == []
    assert monitoring.performance("watch").starts == []
    with pytest.raises(NotFound):
        monitoring.distribution(monitor(), "x", T0)


def test_pages_show_what_was_measured(monitoring, traffic):
    for number in range(10):
        traffic.labels(traffic.day(number, change=shifted(2.5)), T0 + number * DAY)
    monitoring.close(monitor(), until=T0 + 10 * DAY)
    heat = monitoring.heatmap("watch", limit=8)
    assert heat.features == ["kind", "prediction", "x", "z"]
    assert len(heat.starts) == 8
    row = heat.cells[heat.features.index("x")]
    assert all(cell.effect > 0.5 for cell in row)
    assert any(cell.alarm for cell in row)
    series = monitoring.performance("watch")
    assert series.coverage == [1.0] * 10
    assert len(series.series["roc_auc"]) == 10
    assert any("drift" in kinds for kinds in series.alarms)
    shown = monitoring.distribution(monitor(), "x", T0)
    assert sum(one.window for one in shown.bins) == pytest.approx(1)
    assert shown.bins[-1].responsible
    assert shown.bins[-1].window > shown.bins[-1].reference
    with pytest.raises(NotFound, match="kind"):
        monitoring.distribution(monitor(), "kinds", T0)


def test_labels_are_counted_against_predictions(monitoring, traffic):
    traffic.labels({**traffic.day(0, rows=10), "stranger": True}, T0)
    assert monitoring.label_counts(LATE, "late") == {"posted": 11, "labelled": 10, "orphans": 1}
