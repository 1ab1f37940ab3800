from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import InvalidArgument
from tidemill.measures import multiplicity, sequential
from tidemill.measures.detectors import PageHinkley, adwin_cut, ddm, kswin
from tidemill.measures.multiplicity import Budget
from tidemill.measures.scoring import periodic_baseline, score_alarms

p_lists = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(p_lists, st.sampled_from([0.01, 0.05, 0.2]))
def test_step_procedures_by_definition(p: list[float], q: float) -> None:
    m, ordered = len(p), sorted(p)
    holm = next((k for k in range(m) if ordered[k] > q / (m - k)), m)
    assert len(multiplicity.holm(p, q)) == holm
    bh = max((k + 1 for k in range(m) if ordered[k] <= q * (k + 1) / m), default=0)
    assert len(multiplicity.benjamini_hochberg(p, q)) == bh
    assert set(multiplicity.bonferroni(p, q)) <= set(multiplicity.holm(p, q)) <= set(multiplicity.naive(p, q))
    assert set(multiplicity.benjamini_yekutieli(p, q)) <= set(multiplicity.benjamini_hochberg(p, q))


@given(st.lists(st.floats(0, 1000), max_size=12), st.sampled_from([0.05, 0.5]))
def test_e_bh_by_definition(e: list[float], q: float) -> None:
    ordered = sorted(e, reverse=True)
    r = max((k + 1 for k in range(len(e)) if ordered[k] >= len(e) / (q * (k + 1))), default=0)
    assert len(multiplicity.e_bh(e, q)) == r


def test_of_nothing() -> None:
    for reject in multiplicity.PROCEDURES.values():
        assert reject([], 0.05) == []
    assert multiplicity.average_e([]) is None
    assert not multiplicity.global_null_rejected([], 0.05)
    assert Budget(0, 0).alpha_for() is None
    assert Budget(0, 10).false_windows_corrected(0.05) == 0.0


@given(st.lists(st.floats(0.01, 20), max_size=30))
def test_log_steps_follow_the_path(e: list[float]) -> None:
    log_sr = None
    for value, expected in zip(e, sequential.sr_path(e), strict=True):
        log_sr = sequential.sr_step(log_sr, math.log(value))
        assert log_sr == pytest.approx(math.log(expected), rel=1e-9, abs=1e-9)


def test_thresholds_and_alarms() -> None:
    assert sequential.threshold_for(2, 30) == 15.0
    assert sequential.threshold_for(10, 2) == 1.0
    assert sequential.first_alarm([1.0], 2.0) is None
    assert sequential.log_mean([]) is None
    with pytest.raises(InvalidArgument, match="cannot be kept"):
        sequential.threshold_for(0, 30)


def test_page_hinkley_keeps_positions_over_gaps() -> None:
    stream = [0.0] * 200 + [math.nan] + [1.0] * 200
    assert PageHinkley(threshold=5).alarms_up(stream) == [206]
    assert PageHinkley(threshold=5).alarms_both(stream) == [206]


def test_page_hinkley_falls() -> None:
    stream = [1.0] * 200 + [0.0] * 200
    assert PageHinkley(threshold=5).alarms_up(stream) == []
    assert PageHinkley(threshold=5).alarms_both(stream) == [205]


def test_ddm_is_silent_on_a_steady_stream() -> None:
    assert ddm([0.0] * 100).drifts == ()


def test_adwin_and_kswin() -> None:
    m = 1 / (1 / 96 + 1 / 96)
    depth = math.log(2 * math.log(200) / 0.002)
    expected = math.sqrt(2 / m * 0.25 * depth) + 2 / (3 * m) * depth
    assert adwin_cut(100, 100, 0.25, 200) == pytest.approx(expected)
    assert adwin_cut(4, 100, 0.25, 200) is None
    assert not kswin(0.1, 10_000).fires  # significant, not large
    assert not kswin(0.2, 30).fires
    assert kswin(0.2, 0).p is None


def test_scores_beside_the_periodic_baseline() -> None:
    nothing = score_alarms([], [100], 50, 1000)
    assert (nothing.precision, nothing.episode_recall, nothing.f1, nothing.detection_delay) == (None, 0.0, None, None)
    assert score_alarms([900], [100], 50, 1000).f1 == 0.0
    assert np.isclose(periodic_baseline([100, 500], 50, 1000, 100).precision or 0, 2 / 9)
