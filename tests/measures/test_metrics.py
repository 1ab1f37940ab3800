from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import InvalidArgument, InvalidData, NotFound
from tidemill.measures.metrics import METRICS, metric, metrics_of, score_all, usable_rows

labels_and_scores = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])), min_size=1, max_size=30
)
values = st.floats(-1e6, 1e6)
anything = st.floats(allow_nan=True, allow_infinity=True)


def pairs_auc(rows: list[tuple[int, float]]) -> float | None:
    positive = [s for y, s in rows if y]
    negative = [s for y, s in rows if not y]
    if not positive or not negative:
        return None
    wins = sum((p > n) + 0.5 * (p == n) for p in positive for n in negative)
    return wins / (len(positive) * len(negative))


@given(labels_and_scores)
def test_roc_auc_counts_pairs(rows: list[tuple[int, float]]) -> None:
    found = metric("roc_auc")([y for y, _ in rows], [s for _, s in rows])
    expected = pairs_auc(rows)
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-12))


@given(labels_and_scores)
def test_label_metrics_count_the_table(rows: list[tuple[int, float]]) -> None:
    tp = sum(y and s >= 0.5 for y, s in rows)
    fp = sum((not y) and s >= 0.5 for y, s in rows)
    fn = sum(y and s < 0.5 for y, s in rows)
    scores = score_all("classification", [y for y, _ in rows], [s for _, s in rows])
    assert scores["precision"] == (pytest.approx(tp / (tp + fp)) if tp + fp else None)
    assert scores["recall"] == (pytest.approx(tp / (tp + fn)) if tp + fn else None)
    assert scores["f1"] == (pytest.approx(2 * tp / (2 * tp + fp + fn)) if tp + fp + fn else None)
    assert scores["accuracy"] == pytest.approx(1 - (fp + fn) / len(rows))


@given(labels_and_scores)
def test_average_precision_steps_over_thresholds(rows: list[tuple[int, float]]) -> None:
    positives = sum(y for y, _ in rows)
    total, last = 0.0, 0
    for threshold in sorted({s for _, s in rows}, reverse=True):
        shown = [y for y, s in rows if s >= threshold]
        total += (sum(shown) - last) * sum(shown) / len(shown)
        last = sum(shown)
    found = metric("average_precision")([y for y, _ in rows], [s for _, s in rows])
    assert found == (pytest.approx(total / positives) if positives else None)


@given(st.lists(st.tuples(values, values), min_size=2, max_size=20))
def test_regression_by_definition(rows: list[tuple[float, float]]) -> None:
    y, pred = zip(*rows, strict=True)
    scores = score_all("regression", y, pred)
    gaps = [a - b for a, b in rows]
    assert scores["mae"] == pytest.approx(sum(map(abs, gaps)) / len(gaps))
    assert scores["rmse"] == pytest.approx(math.sqrt(sum(g * g for g in gaps) / len(gaps)))
    mean = sum(y) / len(y)
    total = sum((v - mean) ** 2 for v in y)
    if total > 1e-6:
        assert scores["r2"] == pytest.approx(1 - sum(g * g for g in gaps) / total, rel=1e-6, abs=1e-6)


@given(st.sampled_from(["classification", "regression"]), st.lists(st.tuples(anything, anything), max_size=8))
def test_whatever_comes_scores_are_finite_or_none(task: str, rows: list[tuple[float, float]]) -> None:
    scores = score_all(task, [y for y, _ in rows], [p for _, p in rows])  # type: ignore[arg-type]
    assert all(value is None or math.isfinite(value) for value in scores.values())


def test_no_rows_and_one_class_are_insufficient() -> None:
    assert set(score_all("classification", [], []).values()) == {None}
    assert metric("roc_auc")([1, 1], [0.2, 0.4]) is None
    assert metric("r2")([2.0, 2.0], [1.0, 3.0]) is None
    assert metric("mape")([0.0], [3.0]) is None


def test_missing_labels_are_left_out() -> None:
    assert metric("accuracy")([1, None, 0], [0.9, 0.9, 0.1]) == 1.0


def test_log_loss_is_clipped() -> None:
    assert metric("log_loss")([1], [0.0]) == pytest.approx(-math.log(1e-15))


def test_two_columns_are_the_second_class() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert metric("brier")([0, 1], scores) == metric("brier")([0, 1], scores[:, 1])


def test_many_classes() -> None:
    scores = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.5, 0.4, 0.1]])
    found = score_all("classification", [0, 1, 2, 1], scores)
    assert found["accuracy"] == 0.75
    assert found["log_loss"] == pytest.approx(-np.log([0.7, 0.8, 0.6, 0.4]).mean())
    assert found["recall"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert metric("log_loss")([7], scores[:1]) == pytest.approx(-math.log(1e-15))


def test_unknown_names_are_explained() -> None:
    with pytest.raises(NotFound, match="Did you mean 'roc_auc'"):
        metric("roc_au")
    with pytest.raises(InvalidArgument, match="classification"):
        metrics_of("ranking")  # type: ignore[arg-type]


def test_bad_rows_are_explained() -> None:
    with pytest.raises(InvalidData, match="2 labels and 1 predictions"):
        usable_rows([1, 0], [0.5])
    with pytest.raises(InvalidData, match="not all numbers"):
        usable_rows(["a"], [0.5])


def test_gain_has_a_direction() -> None:
    assert metric("roc_auc").gain(0.8, 0.7) == pytest.approx(0.1)
    assert metric("log_loss").gain(0.5, 0.7) == pytest.approx(0.2)
    assert {one.name for one in metrics_of("regression")} < set(METRICS)


def test_metrics_agree_with_scikit_learn() -> None:
    sk = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    p = np.round(rng.random(500), 2)
    y = (rng.random(500) < p).astype(int)
    found = score_all("classification", y, p)
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(y, p))
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(y, p))
    assert found["brier"] == pytest.approx(sk.brier_score_loss(y, p))
    assert found["log_loss"] == pytest.approx(sk.log_loss(y, np.clip(p, 1e-15, 1 - 1e-15)))
