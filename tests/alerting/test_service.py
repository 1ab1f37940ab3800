from __future__ import annotations

import pytest
from tests.alerting.conftest import DAY, World, make_monitor

from tidemill.alerting.service import Alerting
from tidemill.core.records.alerting import Alert, Decision
from tidemill.core.records.events import Event


def actions(decisions):
    return [(one.action, one.detail["code"]) for one in decisions]


def test_a_quiet_window_does_nothing(world):
    assert world.window() == []
    assert world.alerting.alerts() == []


def test_an_alarm_fires_notifies_and_retrains(world, starter):
    (decision,) = world.window("drift")
    assert (decision.action, decision.run_id) == ("retrain", "run0")
    assert "DriftDetected" in decision.reason
    (alert,) = world.alerting.alerts()
    assert (alert.state, alert.severity, alert.labels["version"]) == ("firing", "warning", "1")
    assert alert.evidence["features"] == ["temp"]
    assert world.said() == [("team", "firing"), ("team", "retrain")]
    with world.metadata.read() as reader:
        kinds = [one.kind for one in reader.find(Event, order=["seq"])]
    assert kinds == ["window.closed", "alert.firing", "decision.made"]
    assert starter.waited == [False]


def test_handling_the_same_window_again_does_nothing(world, starter):
    (report,) = world.window("drift", "performance", handle=False)
    assert len(world.alerting.handle(world.monitor, [report])) == 2
    assert world.alerting.handle(world.monitor, [report]) == []
    assert world.alerting.handle(world.monitor) == []
    assert len(starter.runs) == 1


def test_alarms_of_a_killed_process_are_found(world):
    world.window("drift", handle=False)
    (decision,) = world.alerting.handle(world.monitor)
    assert decision.run_id == "run0"


def test_a_report_that_is_not_in_the_event_log_is_handled(world, metadata):
    (report,) = world.window("drift", handle=False)
    with metadata.write() as writer:
        writer.remove(Event, {"kind": "window.closed"})
    assert len(world.alerting.handle(world.monitor, [report])) == 1


def test_waiting_is_passed_on(world, starter):
    (report,) = world.window("drift", handle=False)
    world.alerting.handle(world.monitor, [report], wait=True)
    assert starter.waited == [True]


def test_one_alert_from_its_first_alarm_to_its_end(world):
    world.window("drift", labelled=1)
    world.window("drift", labelled=1)
    for _ in range(7):
        world.window(labelled=1)
    (alert,) = world.alerting.alerts()
    assert alert.state == "firing"
    assert alert.summary == "drift on day 1"
    world.window(labelled=1)
    (alert,) = world.alerting.alerts("resolved")
    assert alert.resolved_at == world.scope.now()
    assert world.said() == [("team", "firing"), ("team", "resolved")]


def test_performance_comes_first_and_drift_waits(world):
    decided = world.window("drift", "performance")
    assert actions(decided) == [("retrain", "retrain"), ("defer", "defer:min_new_labels")]
    assert "PerformanceDropped" in decided[0].reason
    names = [one.name for one in world.alerting.alerts("firing")]
    assert sorted(names) == ["DriftDetected", "PerformanceDropped"]


def test_drift_waits_for_rows_worth_a_retrain(world):
    assert actions(world.window("drift", labelled=100, trained_on=2000)) == [("defer", "defer:min_new_labels")]
    assert world.window(labelled=100) == []
    (decision,) = world.window(labelled=100)
    assert (decision.action, decision.detail["needed_labels"], decision.run_id) == ("retrain", 300, "run0")
    assert world.window(labelled=1000) == []


def test_rows_the_gate_tests_with_do_not_count(world):
    with world.metadata.write() as writer:
        writer.add(Decision(**world.scope.stamp(), id=world.scope.new_id(), subject="model/late", action="promote",
                            reason="first", detail={"test_span": 3 * DAY}))  # fmt: skip
    assert actions(world.window("drift", labelled=100, trained_on=2000)) == [("defer", "defer:min_new_labels")]
    for _ in range(4):
        assert world.window(labelled=100) == [], "the newest three days are the gate's"
    assert [one.action for one in world.window(labelled=100)] == ["retrain"]


def test_what_waits_is_dropped_when_its_alert_ends(world):
    world.window("drift", labelled=10, trained_on=10_000)
    for _ in range(9):
        world.window(labelled=10)
    assert world.alerting.alerts("firing") == []
    assert world.window(labelled=5000) == []


def test_labels_count_from_the_last_retrain(world):
    assert actions(world.window("performance", labelled=500)) == [("retrain", "retrain")]
    for _ in range(2):
        world.window(labelled=50)
    assert actions(world.window("performance", labelled=50)) == [("defer", "defer:min_new_labels")]
    assert actions(world.window(labelled=100)) == [("retrain", "retrain")]


def test_a_retrain_cools_down(world):
    world.window("performance")
    assert actions(world.window("performance")) == [("skip", "skip:cooldown")]
    assert actions(world.window("performance")) == [("retrain", "retrain")]


def test_no_more_than_two_retrains_a_week(scope, metadata, starter):
    world = World(scope, metadata, starter, [])
    world.monitor = make_monitor(cooldown="1d")
    codes = [world.window("performance")[0].detail["code"] for _ in range(9)]
    assert codes == ["retrain", "retrain", *["skip:budget"] * 5, "retrain", "retrain"]


def test_a_monitor_without_labels_counts_rows(scope, metadata, starter):
    world = World(scope, metadata, starter, [])
    world.monitor = make_monitor(label=None)
    assert actions(world.window("drift", labelled=1000)) == [("retrain", "retrain")]


def test_a_promotion_ends_the_alert_and_is_told(world):
    (decision,) = world.window("drift")
    assert world.alerting.follow_up() == []
    world.promote(decision.run_id)
    (promoted,) = world.alerting.follow_up()
    assert (promoted.action, promoted.reason) == ("promote", "0.75 against 0.71")
    assert world.alerting.follow_up() == []
    assert world.alerting.alerts()[0].state == "resolved"
    assert world.said() == [("team", one) for one in ("firing", "retrain", "promoted", "resolved")]
    newest, retrained = world.alerting.decisions()
    assert (newest.action, retrained.detail["outcome"]) == ("promote", "promoted")


def test_a_refusal_keeps_the_alert(world):
    (decision,) = world.window("drift")
    world.promote(decision.run_id, "refuse", "not better")
    world.alerting.follow_up()
    assert world.alerting.alerts()[0].state == "firing"
    assert world.said()[-1] == ("team", "refused")


@pytest.mark.parametrize("status", ["failed", "killed"])
def test_a_failed_retrain_is_told(world, starter, status):
    (decision,) = world.window("drift")
    starter.ends[decision.run_id] = {"status": status, "result": None, "error": "no disk"}
    assert world.alerting.follow_up() == []
    world.alerting.deliver()
    assert f"late_pipeline {status}: no disk" in world.lines[-1]
    assert world.alerting.decisions()[0].detail["outcome"] == status


def test_another_version_ends_the_alert_of_the_one_before(world):
    world.window("drift", labelled=1)
    world.window(version=2)
    assert world.alerting.alerts()[0].state == "resolved"


def test_an_alarm_about_another_version_is_another_alert(world):
    world.window("drift", labelled=1)
    world.window("drift", version=2, labelled=1)
    assert [(one.labels["version"], one.state) for one in world.alerting.alerts()] == [
        ("2", "firing"),
        ("1", "resolved"),
    ]


def test_a_late_alarm_about_performance_does_not_count_as_silence(world):
    world.window("drift", labelled=1)
    world.window("performance", labelled=1, event="window.alarm")
    alert = next(one for one in world.alerting.alerts() if one.name == "DriftDetected")
    assert alert.evidence["rule"] == {"state": "firing", "since": None}


# -- crashes ---------------------------------------------------------------------------------------


class Killed(Exception):
    pass


class Dying:
    """A store whose process dies before a write."""

    def __init__(self, store, left):
        self.store, self.left = store, left

    def read(self):
        return self.store.read()

    def write(self):
        if self.left == 0:
            raise Killed
        self.left -= 1
        return self.store.write()


@pytest.mark.parametrize("left", range(6))
def test_killed_between_any_two_writes_each_thing_happens_once(world, starter, left):
    world.window("drift", handle=False)
    world.window("drift", "performance", handle=False)

    def round(store):
        lines = []
        alerting = Alerting(
            world.scope, metadata=store, starter=starter, channels={"team": "console:"}, write=lines.append
        )
        alerting.handle(world.monitor)
        alerting.follow_up()
        alerting.deliver()
        return lines

    try:
        first = round(Dying(world.metadata, left))
    except Killed:
        first = []
    round(world.metadata)
    assert first == [] or left >= 5
    with world.metadata.read() as reader:
        decisions = reader.find(Decision, order=["created_at", "id"])
        assert reader.count(Alert) == 2
    assert [one.detail["code"] for one in decisions] == ["retrain", *["defer:min_new_labels"] * 2]
    assert len(starter.runs) == 1
    assert decisions[0].run_id == "run0"
    assert sorted(world.said()) == [("team", "firing"), ("team", "firing"), ("team", "retrain")]


def test_a_year_of_alarms_retrains_a_handful_of_times(world):
    """Whatever fires, drift alone retrains as often as the logarithm of the rows allows."""
    trained, retrains = 90, 0
    for day in range(270):
        decided = world.window("drift", labelled=10, trained_on=trained * 10, version=retrains)
        if any(one.action == "retrain" for one in decided):
            retrains += 1
            trained = 90 + day
    assert 3 <= retrains <= 10
    assert world.scope.now() >= 270 * DAY
