"""While nothing changes, the false alarms of a monitor stay within its budget; seeded, so it is the same on every run."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tidemill.core.specs.monitoring import Monitor
from tidemill.core.specs.serving import Graph
from tidemill.measures.blocks import block_values
from tidemill.measures.profile import merge_all
from tidemill.measures.profiling import profile_frame
from tidemill.measures.reference import Reference
from tidemill.monitoring.calibration import held_promise, judge
from tidemill.monitoring.evidence import LEAST_BLOCKS, add_window, alarm_threshold, new_evidence
from tidemill.monitoring.windows import inputs_of

DAY = 86_400_000_000
WATCH = Monitor(Graph("late").model("models:/late@champion"), false_alarms="1 per month", effect=0.0, name="watch")
DAYS, MONTHS = 30, 20


def stormy_day(rng, rows=60):
    """Rows of one day hang together: a day has weather of its own."""
    weather = rng.normal(0, 1)
    return pl.DataFrame({name: weather + rng.normal(0, 1, rows) for name in ("temp", "wind", "visib")})


def test_the_threshold_is_the_windows_in_which_one_alarm_is_allowed():
    assert alarm_threshold(WATCH) == pytest.approx(30)
    hourly = Monitor(WATCH.graph, every="1h", false_alarms="2 per week")
    assert alarm_threshold(hourly) == pytest.approx(84)


def drift_alarms(seed):
    """False alarms in a month; with effect=0 every crossing is one."""
    rng = np.random.default_rng(seed)
    parts = [stormy_day(rng) for _ in range(60)]
    profile = profile_frame(pl.concat(parts))
    blocks = block_values(profile, [profile_frame(part, profile) for part in parts])
    reference = Reference(profile=profile, window=DAY, blocks=blocks)
    evidence, alarms = new_evidence(WATCH, reference, 1, 0), 0
    for day in range(DAYS):
        rows = stormy_day(rng).with_columns(row_id=pl.lit("r"))
        inputs = inputs_of(rows, reference)
        evidence, crossing = add_window(
            evidence, WATCH, reference, inputs.profile, inputs.drifts,
            lambda inputs=inputs: merge_all([inputs.profile], profile), (day + 1) * DAY,
        )  # fmt: skip
        alarms += bool(crossing.responsible)
    return alarms


def test_days_that_differ_as_before_are_no_drift():
    assert LEAST_BLOCKS <= 60
    alarms = [drift_alarms(seed) for seed in range(MONTHS)]
    assert np.mean(alarms) <= 1
    assert np.mean([one == 0 for one in alarms]) >= 0.5


def promise_alarms(seed, rows=60, off=0.0):
    """Days whose rows are late together, under probabilities that are right on average."""
    rng = np.random.default_rng(seed)
    held = []
    for day in range(DAYS):
        p = rng.uniform(0.05, 0.6, rows)
        storm = rng.choice([-1.0, 1.0])
        y = rng.random(rows) < np.clip(p * (1 + 0.5 * storm) + off, 0, 1)
        held.append(held_promise(day, y.astype(float), p))
    found, since = 0, 0
    while (judged := judge(held[since:], 30.0, tolerance=0.0)).alarm is not None:
        found, since = found + 1, judged.alarm + 1
    return found


def test_promises_that_are_kept_on_average_give_few_alarms():
    alarms = [promise_alarms(seed) for seed in range(200)]
    assert np.mean(alarms) <= 1


def test_promises_that_are_broken_are_found():
    assert np.mean([promise_alarms(seed, off=0.15) > 0 for seed in range(20)]) >= 0.9
