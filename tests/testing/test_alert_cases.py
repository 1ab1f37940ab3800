from __future__ import annotations

from typing import Any

import pytest

from tidemill.testing.drift_cases.runner import check
from tidemill.testing.drift_cases.situation import Case

CASES: list[dict[str, Any]] = [
    {"id": "I", "what": "rule, evaluation every 30 s, for=60 s, keep_firing_for=0 s", "input": {"condition": [1, 1, 1, 0]},
     "expected": {"state": ["pending", "pending", "firing", "inactive"]}},
    {"id": "I", "what": "", "input": {"group_wait": 30, "group_interval": 300, "repeat_interval": 600,
                                      "events": [[0, "a", "fire"], [50, "a", "fire (duplicate)"], [100, "b", "fire"]]},
     "expected": {"notifications": [[30, "first", ["a"], []], [330, "new_alerts", ["a", "b"], []],
                                    [1230, "repeat", ["a", "b"], []]]}},
    {"id": "I", "what": "", "input": {"events": [[0, "A{model=m1,sev=warning}", "fire"],
                                                  [0, "B{model=m1,sev=critical}", "fire"]],
                                      "inhibit": "critical inhibits warning, equal=[model]"},
     "expected": {"notified_at_first_flush": ["B{model=m1}"], "notified_after_silence_expiry_if_still_firing": [],
                  "suppressed_but_recorded": 1}},
    {"id": "I", "what": "count criteria: 2 events within 60 s, auto reset", "input": {"event_times": [0, 50, 70, 120]},
     "expected": {"notify_at": [50, 120]}},
    {"id": "J", "what": "", "input": {"policy": {"cooldown_h": 24, "min_new_labels": 500, "max_per_7d": 2},
                                      "alerts": [[0, 100], [1, 600], [2, 600], [30, 600], [60, 600], [169, 600]]},
     "expected": {"decisions": [[0, "defer:min_new_labels"], [1, "retrain"], [2, "skip:cooldown"], [30, "retrain"],
                                [60, "skip:budget"], [169, "retrain"]]}},
    {"id": "J", "what": "", "input": {"champion_metric": 0.8, "live_[labels,metric]": [[100, 0.1], [500, 0.7], [900, 0.79]]},
     "expected": {"actions": ["wait", "rollback", "keep"]}},
    {"id": "J", "what": "", "input": {"A": [0.01, 0.01, 0.01]},
     "expected": {"A": {"mean_gain": 0.01, "lower95": 0.01, "promote": True}}},
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: ",".join(case["input"]))
def test_cases_about_alerts_are_answered(case: dict[str, Any]) -> None:
    assert check(Case(**case)) == []


def test_a_wrong_expectation_is_told() -> None:
    wrong = {**CASES[0], "expected": {"state": ["firing"] * 4}}
    assert check(Case(**wrong)) == [
        "state: expected ['firing', 'firing', 'firing', 'firing'], found ['pending', 'pending', 'firing', 'inactive']"
    ]
