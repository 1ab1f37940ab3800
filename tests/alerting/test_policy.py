from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tidemill.alerting.policy import Policy, action_of, decide, needed_labels, reason_of, rollback

HOUR = 3_600_000_000


def run(policy, alarms):
    """The decisions on (hour, new labels) in order."""
    started, found = [], []
    for hour, labels in alarms:
        code = decide(policy, hour * HOUR, labels, started)
        if code == "retrain":
            started.append(hour * HOUR)
        found.append(code)
    return found


def test_a_sequence_of_alarms():
    policy = Policy(cooldown=24 * HOUR, min_new_labels=500, max_per_7d=2)
    alarms = [(0, 100), (5, 600), (20, 900), (29, 900), (60, 900), (172, 900), (173, 900)]
    assert run(policy, alarms) == [
        "defer:min_new_labels", "retrain", "skip:cooldown", "retrain", "skip:budget", "skip:budget", "retrain",
    ]  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3)), max_size=40), st.integers(0, 50), st.integers(1, 3))
def test_retrains_keep_their_distance_and_budget(alarms, cooldown, most):
    policy = Policy(cooldown=cooldown * HOUR, min_new_labels=1, max_per_7d=most)
    alarms = sorted(alarms)
    codes = run(policy, alarms)
    hours = [hour for (hour, _), code in zip(alarms, codes, strict=True) if code == "retrain"]
    assert all(later - earlier >= cooldown for earlier, later in pairwise(hours))
    assert all(sum(0 <= hour - other < 168 for other in hours) <= most for hour in hours)
    assert all(labels > 0 for (_, labels), code in zip(alarms, codes, strict=True) if code != "defer:min_new_labels")


def test_drift_waits_for_rows_and_wrong_answers_do_not():
    assert needed_labels("drift", 80_000) == 12_000
    assert needed_labels("drift", None) == needed_labels("performance", 81_000) == 200


def test_reasons_say_what_was_compared():
    policy = Policy(cooldown=48 * HOUR, min_new_labels=500)
    assert "120 new ones to learn from, 500" in reason_of("defer:min_new_labels", policy, 120, [])
    assert "1970-01-01T05:00:00Z, less than 2d" in reason_of("skip:cooldown", policy, 900, [5 * HOUR])
    assert "within seven days" in reason_of("skip:budget", policy, 900, [5 * HOUR])
    assert "900 new labels to learn from" in reason_of("retrain", policy, 900, [])
    assert [action_of(code) for code in ("retrain", "skip:budget", "defer:min_new_labels")] == [
        "retrain",
        "skip",
        "defer",
    ]


def test_rolling_back():
    assert rollback(0.5, champion=0.8, labels=499) == "wait"
    assert rollback(0.779, champion=0.8, labels=500) == "rollback"
    assert rollback(0.781, champion=0.8, labels=500) == "keep"
