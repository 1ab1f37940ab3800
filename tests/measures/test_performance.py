from __future__ import annotations

import numpy as np
import pytest

from tidemill.core.errors import InvalidData
from tidemill.measures.attribution import attribution_ndcg, attribution_violated
from tidemill.measures.curves import (
    Calibration,
    Curve,
    Histogram,
    calibration_curve,
    confusion_matrix,
    precision_recall_curve,
    residual_histogram,
    roc_curve,
)
from tidemill.measures.estimate import estimate
from tidemill.measures.fairness import fairness
from tidemill.measures.labels import LabelEvent, Prediction, join_labels
from tidemill.measures.metrics import metric
from tidemill.measures.quality import ColumnRule, judge


def test_curve_area_is_the_metric() -> None:
    rng = np.random.default_rng(0)
    p = np.round(rng.random(3000), 3)
    y = rng.random(3000) < p
    curve = roc_curve(y, p)
    assert len(curve.x) <= 200
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(metric("roc_auc")(y, p), abs=1e-3)
    assert precision_recall_curve(y, p).x[-1] == 1.0
    assert len(precision_recall_curve(y, p).x) <= 200


def test_curves_of_nothing_are_empty() -> None:
    assert roc_curve([1, 1], [0.1, 0.2]) == Curve()
    assert roc_curve([], []) == Curve()
    assert precision_recall_curve([0], [0.2]) == Curve()
    assert calibration_curve([], []) == Calibration()
    assert residual_histogram([], []) == Histogram()
    assert residual_histogram([1.0, 1.0], [0.0, 0.0]) == Histogram((1.0, 1.0), (2,))


def test_confusion_of_three_classes() -> None:
    scores = np.eye(3)[[0, 1, 1, 2]]
    assert confusion_matrix([0, 1, 2, 2], scores).counts == ((1, 0, 0), (0, 1, 0), (0, 1, 1))


def test_calibration_bins() -> None:
    found = calibration_curve([0, 1, 1], [0.11, 0.19, 1.0])
    assert found.predicted == (pytest.approx(0.15), 1.0)
    assert found.observed == (0.5, 1.0)
    assert found.rows == (2, 1)


def test_estimate_of_a_sure_model_is_perfect() -> None:
    found = estimate([1.0, 0.0], [1, 0])
    assert (found.accuracy, found.f1, found.roc_auc) == (1.0, 1.0, 1.0)
    assert estimate([], []).accuracy is None


def test_estimated_auc_is_the_expected_pairs() -> None:
    p = np.array([0.9, 0.7, 0.7, 0.2])
    wins = sum(
        a * (1 - b) * (1.0 if a > b else 0.5 if a == b else 0.0)
        for i, a in enumerate(p)
        for j, b in enumerate(p)
        if i != j
    )
    own = sum(a * (1 - a) / 2 for a in p)  # the trapezoid pairs a row with itself, too
    expected = (wins + own) / (p.sum() * (1 - p).sum())
    assert estimate(p, p > 0.5).roc_auc == pytest.approx(expected)


def test_equal_selection_may_hide_unequal_odds() -> None:
    found = fairness([1, 0, 1, 0], [1, 0, 0, 1], ["a", "a", "b", "b"])
    assert found.demographic_parity_difference == 0.0
    assert found.equalized_odds_difference == 1.0


def test_fairness_of_little() -> None:
    assert fairness([], [], []).demographic_parity_difference is None
    assert fairness([0], [0], ["a"]).groups["a"].tpr is None
    assert fairness([0], [0], ["a"]).demographic_parity_ratio is None
    with pytest.raises(InvalidData, match="1 labels, 1 predictions and 2 groups"):
        fairness([1], [1], ["a", "b"])


def test_labels_corrected_repeated_late_and_lost() -> None:
    predictions = [Prediction("a", 0, 1), Prediction("b", 0, 1), Prediction("c", 0, 0)]
    events = [
        LabelEvent("b", 30, 1),
        LabelEvent("a", 5, 0),
        LabelEvent("a", 6, 0),
        LabelEvent("a", 7, 1),
        LabelEvent("z", 1, 1),
        LabelEvent("z", 1, 1),
    ]
    final = join_labels(predictions, events, max_delay=10, at=40)
    assert (final.labelled, final.predicted, final.accuracy) == (2, 3, 1.0)
    assert (final.duplicates_ignored, final.corrections_applied, final.corrected) == (2, 1, ("a",))
    assert (final.orphans, final.late, final.expired_unlabelled) == (("z",), ("b",), ("c",))
    assert join_labels(predictions, events, max_delay=10, at=5).accuracy == 0.0
    assert join_labels([], [], max_delay=1).accuracy is None


def test_attribution_order() -> None:
    assert attribution_ndcg({"a": 2.0, "b": 1.0}, ["a", "b"]) == pytest.approx(1.0)
    assert attribution_ndcg({"a": 0.0}, ["a"]) is None
    assert not attribution_violated(None)
    with pytest.raises(InvalidData, match="no attribution of z"):
        attribution_ndcg({"a": 1.0}, ["z"])


def test_quality_never_raises() -> None:
    rules = {"x": ColumnRule("float", low=0.0, unique=True, domain=frozenset({1.0})), "y": ColumnRule("bool")}
    found = judge(rules, [[[1], True], [1.0], [1.0, None], [float("nan"), 3], [-2, False]])
    assert found.violations == ("x.unique", "x.range", "x.type", "x.domain", "x.missing", "y.type", "y.missing")
    assert judge(rules, []).violations == ()
