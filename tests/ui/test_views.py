"""What the pages are told in situations a calm project never sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient
from tests.ui.seeding import DAY, make_project, opened

from tidemill.api.app import create_app
from tidemill.core.clock import ManualClock, SystemClock
from tidemill.core.errors import InvalidArgument
from tidemill.core.records.alerting import Alert, Decision, Notification
from tidemill.core.records.events import Lease
from tidemill.core.records.monitoring import MonitorWindow
from tidemill.core.records.serving import Generation
from tidemill.measures.profiling import profile_like, reference_profile
from tidemill.platform import Platform
from tidemill.ui.views.drift_detail import compared_bins
from tidemill.ui.views.endpoints import endpoint
from tidemill.ui.views.monitor_data import windows_per_false_alarm
from tidemill.ui.views.monitoring import monitor, monitoring
from tidemill.ui.views.overview import overview
from tidemill.ui.views.run import run, thinned
from tidemill.ui.views.runs import runs


@pytest.fixture
def platform(tmp_path: Path, clock: ManualClock) -> Iterator[Platform]:
    make_project(tmp_path)
    with opened(tmp_path, clock) as platform:
        platform.catalog.apply(platform.definitions)
        platform.serving.deploy(platform.definitions.get("graph", "late-flight"))
        yield platform


def add(platform: Platform, kind: Any, **fields: Any) -> None:
    with platform.metadata.write() as writer:
        writer.add(kind(**platform.scope.stamp(), **fields))


def words(platform: Platform) -> dict[str, str]:
    return {one.word: one.text for one in overview(platform).attention}


def generation(platform: Platform, number: int, state: str, detail: str = "", server: str = "") -> None:
    add(platform, Generation, endpoint="late-flight", number=number, models={}, digest="d", state=state, detail=detail,
        server=server)  # fmt: skip


def lease(platform: Platform, server: str, *, expired: bool) -> None:
    now = SystemClock().now()
    add(
        platform,
        Lease,
        name=f"server/flights/{server}",
        holder=server,
        expires_at=now + (-1 if expired else DAY),
        beat_at=now,
    )


def test_an_endpoint_nobody_serves_needs_somebody(platform: Platform) -> None:
    assert "no generation was started" in words(platform)["waiting"]
    generation(platform, 1, "serving")
    assert words(platform) == {}
    generation(platform, 2, "failed", "the model needs a column 'visib'")
    assert words(platform)["failed"].endswith("did not start: the model needs a column 'visib'")


def test_an_endpoint_that_stopped_needs_somebody(platform: Platform) -> None:
    generation(platform, 1, "retired", "its server stopped")
    assert words(platform)["stopped"] == "Endpoint late-flight is not served: its server stopped."


def test_an_endpoint_whose_server_was_killed_is_not_shown_as_serving(platform: Platform) -> None:
    generation(platform, 1, "serving", server="one:1")
    lease(platform, "one:1", expired=True)
    assert words(platform)["gone"] == "Endpoint late-flight is not served: its server ended without a word."
    station = next(one for one in overview(platform).stations if one.name == "Endpoints")
    assert (station.word, station.hint) == ("waiting", "tidemill serve")
    found = endpoint(platform, "late-flight")
    assert [(one.state, one.generation.state) for one in found.generations] == [("broken", "gone")]
    with TestClient(create_app(platform)) as client:
        path = "/api/tidemill/v1/endpoints/late-flight/generations"
        assert [one["state"] for one in client.get(path).json()["items"]] == ["gone"]
        assert "gone" in client.get("/endpoints").text


def test_an_endpoint_that_another_server_serves_needs_nobody(platform: Platform) -> None:
    generation(platform, 1, "serving", server="two:1")
    generation(platform, 2, "serving", server="one:1")
    lease(platform, "one:1", expired=True)
    lease(platform, "two:1", expired=False)
    assert words(platform) == {}
    found = endpoint(platform, "late-flight")
    assert found.current is not None
    assert found.current.generation.number == 1


def test_a_refused_candidate_needs_somebody_until_one_is_promoted(platform: Platform, clock: ManualClock) -> None:
    generation(platform, 1, "serving")
    for number, action in enumerate(("refuse", "promote")):
        clock.advance(1000)
        fields = {"subject": "model/late-flight", "action": action, "reason": "roc_auc is 0.01 lower"}
        add(platform, Decision, id=f"{number}", **fields)
        assert ("refused" in words(platform)) == (action == "refuse")


def test_old_failures_are_history(platform: Platform, clock: ManualClock) -> None:
    generation(platform, 1, "serving")
    platform.tracking.start("nightly").end("failed", error="no rows")
    assert words(platform)["failed"].endswith("failed: no rows")
    clock.advance(8 * DAY)
    assert words(platform) == {}


def test_a_critical_alert_and_a_dead_notification_are_broken(platform: Platform) -> None:
    alert = {
        "id": "a",
        "name": "PerformanceDropped",
        "fingerprint": "f",
        "labels": {"monitor": "watch"},
        "state": "firing",
    }
    add(platform, Alert, **alert, severity="critical", summary="the promise was missed by 0.07")
    note = {"alert_id": "a", "channel": "team", "reason": "firing", "payload": {}, "state": "dead", "due_at": 0}
    add(platform, Notification, id="n", **note)
    found = {one.word: one for one in overview(platform).attention}
    assert (found["firing"].state, found["firing"].href) == ("broken", "/monitoring/watch")
    assert found["undelivered"].text == "1 notification could not be delivered."


def test_a_pipeline_shows_the_lineage_of_its_steps_and_real_durations(platform: Platform) -> None:
    tracking = platform.tracking
    with tracking.start("train_it", kind="pipeline") as pipeline:
        pipeline.set_tag("result", {"promoted": True, "score": 0.75, "test_span": 28 * DAY})
        with tracking.start("training_set", kind="step", parent=pipeline.id) as step:
            step.log_input("rows", "table/sources/flights@3")
            step.log_output("model", "model/late-flight/1")
    page = run(platform, pipeline.id)
    assert {"table", "run", "model"} <= {box.kind for box in page.lineage.boxes}
    assert page.result == {"promoted": True, "score": 0.75, "test_span": 28 * DAY}
    assert "result" not in page.tags
    assert page.duration is not None
    assert page.duration > 0, "the platform's clock stood still, the process's did not"
    assert [span.name for span in page.parts] == ["train_it", "training_set"]


def test_a_monitor_without_windows_and_an_endpoint_without_captures(platform: Platform) -> None:
    page = monitor(platform, "watch", feature="carrier")
    assert (page.evidence, page.heat.rows, page.detail, page.performance, page.coverage) == (None, [], None, [], None)
    assert monitoring(platform).monitors[0].last is None
    assert endpoint(platform, "late-flight").traffic is None


def test_a_window_without_a_profile_says_why(platform: Platform) -> None:
    window = {"monitor": "watch", "start_at": 0, "end_at": DAY, "revision": 1, "rows": 3, "labelled": 0}
    add(platform, MonitorWindow, **window, models={"1": 3})
    detail = monitor(platform, "watch", feature="carrier").detail
    assert detail is not None
    assert detail.problem is not None
    assert "no profile" in detail.problem


def test_runs_of_a_kind_that_is_none(platform: Platform) -> None:
    with pytest.raises(InvalidArgument, match="no kind of run"):
        runs(platform, kind="runn")


def test_many_categories_become_a_few_and_the_rest() -> None:
    values = [f"c{number}" for number in range(60) for _ in range(number + 1)]
    reference = reference_profile({"x": values})
    window = profile_like(reference, {"x": [*values, *["new"] * 900]})
    bins = compared_bins(reference["x"], window["x"])
    assert len(bins) == 24
    assert sum(one.reference for one in bins) == pytest.approx(1)
    assert sum(one.window for one in bins) == pytest.approx(1)
    assert [one.name for one in bins if one.responsible] == ["not seen before"]


def test_times_are_cut_into_days() -> None:
    reference = reference_profile({"t": [DAY * number for number in range(100)]}, {"t": "time"})
    bins = compared_bins(reference["t"], reference["t"])
    assert bins[0].name.startswith("≤ 1970-01-")
    assert not any(one.responsible for one in bins)


def test_thinning_keeps_the_ends() -> None:
    assert thinned(list(range(1000)), 11) == [0, 99, 199, 299, 399, 499, 599, 699, 799, 899, 999]  # type: ignore[arg-type]
    assert thinned([1, 2], 11) == [1, 2]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("budget", "every", "limit"), [("1 per month", DAY, 30), ("2 per week", DAY, 3.5), ("1 per day", DAY // 24, 24)]
)
def test_the_budget_sets_where_evidence_alarms(budget: str, every: int, limit: float) -> None:
    assert windows_per_false_alarm(budget, every) == pytest.approx(limit)
