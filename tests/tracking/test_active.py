from __future__ import annotations

import math
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidemill.core.clock import ManualClock
from tidemill.core.errors import Conflict, Interrupted, InvalidArgument, NotFound
from tidemill.core.records.events import Event, Pin
from tidemill.core.records.runs import MetricPoint, Run
from tidemill.core.scope import Scope
from tidemill.stores.metadata.open import open_metadata
from tidemill.stores.metadata.protocol import MetadataStore
from tidemill.tracking.metrics import curves, latest_metrics
from tidemill.tracking.service import Tracking
from tidemill.tracking.values import value_of


def test_a_run_from_start_to_end(tracking: Tracking, clock: ManualClock, metadata: MetadataStore) -> None:
    with tracking.start("fit", params={"depth": 6}, tags={"stage": "try"}) as run:
        clock.advance(1_000_000)
        run.log_params({"rate": 0.1, "names": ["a", "b"]})
        run.log_metrics({"auc": 0.7, "loss": 0.5})
        run.set_tag("stage", "final")
    found = tracking.get(run.id)
    assert (found.status, found.error) == ("finished", None)
    assert found.ended_at == found.started_at + 1_000_000
    assert found.params == {"depth": 6, "rate": 0.1, "names": ["a", "b"]}
    assert found.tags == {"stage": "final"}
    assert tracking.latest([run.id]) == {run.id: {"auc": 0.7, "loss": 0.5}}
    assert found.environment["python"] == sys.version.split()[0]
    assert found.resources["peak_memory_bytes"] > 1_000_000
    with metadata.read() as reader:
        assert [(event.kind, event.subject) for event in reader.find(Event)] == [
            ("run.started", f"run/{run.id}"), ("run.ended", f"run/{run.id}"),
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no rows"), "failed"),
        (KeyboardInterrupt(), "killed"),
        (Interrupted("stopped"), "killed"),
        (SystemExit(3), "failed"),
        (SystemExit(0), "finished"),
    ],
)
def test_how_a_run_ends_by_an_error(tracking: Tracking, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)), tracking.start("fit") as run:
        raise error
    found = tracking.get(run.id)
    assert found.status == status
    if status == "failed":
        assert type(error).__name__ in (found.error or "")
        assert "Traceback" in (found.error or "")


def test_a_run_ends_once(tracking: Tracking) -> None:
    run = tracking.start("fit")
    run.end("failed", error="why")
    run.end("failed")
    with pytest.raises(Conflict, match="has failed already"):
        run.end("finished")
    with pytest.raises(InvalidArgument, match="Known: finished, failed"):
        run.end("done")
    assert tracking.get(run.id).error == "why"


def test_parameters_do_not_change(tracking: Tracking) -> None:
    run = tracking.start("fit", params={"depth": 1})
    run.log_param("depth", 1)
    for other in (2, 1.0, True, "1"):
        with pytest.raises(Conflict, match="Changing param values is not allowed"):
            run.log_params({"new": 1, "depth": other})
    assert tracking.get(run.id).params == {"depth": 1}


def test_one_write_is_all_or_nothing(tracking: Tracking) -> None:
    run = tracking.start("fit", params={"depth": 1})
    with pytest.raises(Conflict):
        run.log(params={"depth": 2}, tags={"a": "b"}, metrics={"auc": 1.0})
    with pytest.raises(InvalidArgument):
        run.log(params={"rate": 2}, metrics={"auc": "high"})  # type: ignore[dict-item]
    assert tracking.get(run.id).tags == {}
    assert tracking.get(run.id).params == {"depth": 1}
    assert tracking.curves(run.id) == {}


def test_values_of_numpy_are_kept(tracking: Tracking) -> None:
    run = tracking.start("fit")
    run.log_params({"n": np.int64(3), "rate": np.float32(0.5), "yes": np.True_, "list": np.array([1, 2])})
    run.log_metric("auc", np.float64(0.25))
    assert tracking.get(run.id).params == {"n": 3, "rate": 0.5, "yes": True, "list": [1, 2]}
    assert tracking.latest([run.id])[run.id] == {"auc": 0.25}


@pytest.mark.parametrize("key", ["", "  ", "a\nb", "x" * 251, "\0"])
def test_names_that_cannot_be(tracking: Tracking, key: str) -> None:
    run = tracking.start("fit")
    for log in (run.log_metric, run.log_param, run.set_tag):
        with pytest.raises(InvalidArgument, match="name"):
            log(key, 1)


def test_values_that_cannot_be(tracking: Tracking) -> None:
    run = tracking.start("fit")
    with pytest.raises(InvalidArgument, match="parameter 'x' is a object"):
        run.log_param("x", object())
    with pytest.raises(InvalidArgument, match="metric 'auc' is 'high'"):
        run.log_metric("auc", "high")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match=r"step=0\.5"):
        run.log_metric("auc", 1.0, step=0.5)  # type: ignore[arg-type]


def test_nan_and_infinities_are_values(tracking: Tracking, metadata: MetadataStore) -> None:
    run = tracking.start("fit")
    run.log_curve("loss", [math.nan, math.inf, -math.inf, 1.0])
    values = [value_of(point) for point in tracking.metrics(run.id, "loss")]
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf, 1.0]


def test_the_latest_metric(tracking: Tracking) -> None:
    points = [(0, 100, 1000), (3, 40, 100), (3, 50, 10), (3, 50, 20), (3, 50, 20), (-3, 900, 900), (-1, 800, 800)]
    run = tracking.start("fit")
    for step, at, value in reversed(points):
        run.log_metric("m", value, step, at=at)
    assert tracking.latest([run.id]) == {run.id: {"m": 20}}
    history = [(point.step, point.at, point.value) for point in tracking.metrics(run.id, "m")]
    assert history == sorted(points)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 2), st.floats(width=16))))
def test_latest_is_the_end_of_the_curve(points: list[tuple[int, int, float]]) -> None:
    records = [
        MetricPoint(project="p", principal="a", created_at=0, run_id="r", name="m", step=step, at=at, seq=i,
                    value=value if math.isfinite(value) else None,
                    kind="finite" if math.isfinite(value) else str(value))
        for i, (step, at, value) in enumerate(points)
    ]  # fmt: skip

    class Snapshot:
        def find(self, *_: object) -> list[MetricPoint]:
            return records

    latest = latest_metrics(Snapshot(), ["r"])["r"]  # type: ignore[arg-type]
    if not points:
        assert latest == {}
        return
    newest = max((step, at) for step, at, _ in points)
    values = [value for step, at, value in points if (step, at) == newest]
    ordinary = [value for value in values if not math.isnan(value)]
    assert str(latest["m"]) == str(max(ordinary)) if ordinary else math.isnan(latest["m"])
    assert str(value_of(curves(records)["m"][-1])) == str(latest["m"]) or latest["m"] == 0


def test_artifacts_are_kept_and_replaced(tracking: Tracking, metadata: MetadataStore, tmp_path: Path) -> None:
    run = tracking.start("fit")
    file = tmp_path / "plot.json"
    file.write_text("[1]")
    first = run.log_artifact("plots/roc.json", file)
    run.log_artifact("copy.json", b"[1]")
    run.log_artifact("plots/roc.json", "[2]")
    assert tracking.artifact(run.id, "plots/roc.json") == b"[2]"
    assert tracking.artifact(run.id, "copy.json") == b"[1]"
    run.log_artifact("copy.json", "[2]")
    with metadata.read() as reader:
        pins = {pin.target for pin in reader.find(Pin, {"owner": f"run/{run.id}"})}
    assert f"artifact/{first}" not in pins
    assert len(pins) == 2  # the list of packages, and [2]
    with pytest.raises(NotFound, match=r"'plots/roc.jsn'.*Did you mean 'plots/roc.json'"):
        tracking.artifact(run.id, "plots/roc.jsn")


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../b", "a//b", ".", "a\\b", "a\0b", "a/"])
def test_paths_that_leave_the_run(tracking: Tracking, path: str) -> None:
    with pytest.raises(InvalidArgument, match="Invalid path"):
        tracking.start("fit").log_artifact(path, b"")


def test_links(tracking: Tracking) -> None:
    run = tracking.start("fit")
    run.log_input("rows", "dataset/abc", digest="abc", role="train")
    run.log_output("model", "model/late/1")
    assert [(link.direction, link.name, link.uri) for link in tracking.links(run.id)] == [
        ("input", "rows", "dataset/abc"), ("output", "model", "model/late/1"),
    ]  # fmt: skip
    assert tracking.links(run.id, "input")[0].detail == {"role": "train"}
    with pytest.raises(InvalidArgument, match="names nothing"):
        run.log_input("rows", "dataset")


def test_tags_are_removed(tracking: Tracking) -> None:
    run = tracking.start("fit", tags={"a": 1, "b": 2})
    run.remove_tag("a")
    assert tracking.get(run.id).tags == {"b": 2}
    with pytest.raises(NotFound, match="No tag with name: a"):
        run.remove_tag("a")


LOGS_FOR_EVER = """
    import itertools, sys
    from pathlib import Path
    from tidemill.core.clock import SystemClock
    from tidemill.core.scope import Scope
    from tidemill.stores.artifacts.open import open_artifacts
    from tidemill.stores.metadata.open import open_metadata
    from tidemill.tracking.service import Tracking

    home = Path(sys.argv[1])
    stores = {"metadata": open_metadata("sqlite:", home), "artifacts": open_artifacts("file:", home)}
    run = Tracking(Scope("bikes", "ada", SystemClock()), **stores, folder=home).start("endless")
    print(run.id, flush=True)
    for step in itertools.count():
        run.log_metric("loss", step / 2, step)
        print(step, flush=True)
"""


def test_kill_9_loses_no_acknowledged_metric(tracking: Tracking, tmp_path: Path) -> None:
    script = [sys.executable, "-c", textwrap.dedent(LOGS_FOR_EVER), str(tmp_path)]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        acknowledged = [int(process.stdout.readline()) for _ in range(50)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout.read().split("\n")[:-1]]
    stored = {point.step: point.value for point in tracking.metrics(run_id, "loss")}
    assert acknowledged == list(range(len(acknowledged)))
    assert set(acknowledged) <= set(stored)
    assert all(value == step / 2 for step, value in stored.items())
    assert tracking.get(run_id).status == "running"
    assert tracking.reap() == [run_id]
    assert tracking.get(run_id).status == "killed"
    assert tracking.reap() == []


LOGS_TOGETHER = """
    import sys
    from pathlib import Path
    from tidemill.core.clock import ManualClock
    from tidemill.core.scope import Scope
    from tidemill.stores.artifacts.open import open_artifacts
    from tidemill.stores.metadata.open import open_metadata
    from tidemill.tracking.service import Tracking

    home, shared = Path(sys.argv[1]), sys.argv[2]
    stores = {"metadata": open_metadata("sqlite:", home), "artifacts": open_artifacts("file:", home)}
    tracking = Tracking(Scope("bikes", "ada", ManualClock(7)), **stores, folder=home)
    together = tracking.resume(shared)
    with tracking.start("mine", parent=shared) as mine:
        for step in range(100):
            mine.log_metrics({"a": step, "b": -step}, step)
            together.log_metric("a", step, step)
        mine.log_curve("c", [0.5] * 1500)
"""


def test_processes_write_at_once(tracking: Tracking, tmp_path: Path) -> None:
    shared = tracking.start("together")
    script = [sys.executable, "-c", textwrap.dedent(LOGS_TOGETHER), str(tmp_path), shared.id]
    processes = [subprocess.Popen(script, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert len(tracking.metrics(shared.id, "a")) == 400
    mine = tracking.children(shared.id)
    assert [run.status for run in mine] == ["finished"] * 4
    for run in mine:
        assert {name: len(points) for name, points in tracking.curves(run.id).items()} == {
            "a": 100,
            "b": 100,
            "c": 1500,
        }


@pytest.mark.service
def test_the_same_on_postgres(empty_postgres_url: str, scope: Scope, tmp_path: Path) -> None:
    from tidemill.stores.artifacts.open import open_artifacts

    store = open_metadata(empty_postgres_url, tmp_path)
    tracking = Tracking(scope, metadata=store, artifacts=open_artifacts("memory:", tmp_path), folder=tmp_path)
    with tracking.start("fit", params={"depth": 3}) as run:
        run.log_curve("loss", [math.nan, math.inf, 0.25])
        run.log_artifact("a.txt", "a")
    assert tracking.find("metrics.loss < 1 AND params.depth = 3 AND status = 'finished'")[0].id == run.id
    assert tracking.get(run.id[-8:]).id == run.id
    with store.read() as reader:
        assert reader.count(Run) == 1
    store.close()
