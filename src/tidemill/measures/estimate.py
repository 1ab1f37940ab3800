"""Performance before the labels are there, from calibrated probabilities (CBPE). Blind to concept drift."""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike

from tidemill.measures.arrays import Floats, ratio
from tidemill.measures.metrics import usable_rows


class Estimate(Struct, frozen=True):
    """The expected confusion matrix and what follows from it; None where a denominator is zero."""

    tp: float
    fp: float
    fn: float
    tn: float
    accuracy: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    specificity: float | None
    roc_auc: float | None


def estimate(calibrated_p: ArrayLike, y_pred: ArrayLike) -> Estimate:
    """What a classifier's metrics are expected to be if its probabilities are right.

    TP = sum p over rows predicted 1, FP = sum 1 - p there, FN = sum p over rows predicted 0, TN = sum 1 - p
    there.

    Args:
        calibrated_p: P(y = 1) of every row, shape (n,).
        y_pred: The predicted label of every row, 0/1, shape (n,).

    Example:
        >>> round(estimate([0.9, 0.8, 0.3, 0.2, 0.6], [1, 1, 0, 0, 1]).accuracy, 9)
        0.76
    """
    label, p = usable_rows(y_pred, calibrated_p)
    one = label > 0
    tp, fp = float(p[one].sum()), float((1 - p[one]).sum())
    fn, tn = float(p[~one].sum()), float((1 - p[~one]).sum())
    return Estimate(
        tp, fp, fn, tn,
        accuracy=ratio(tp + tn, len(p)),
        precision=ratio(tp, tp + fp),
        recall=ratio(tp, tp + fn),
        f1=ratio(2 * tp, 2 * tp + fp + fn),
        specificity=ratio(tn, tn + fp),
        roc_auc=_expected_auc(p),
    )  # fmt: skip


def _expected_auc(p: Floats) -> float | None:
    """Scores descending, expected positives against expected negatives, trapezoid."""
    ordered = np.sort(p)[::-1]
    hits, misses = np.r_[0.0, np.cumsum(ordered)], np.r_[0.0, np.cumsum(1 - ordered)]
    area = float(((hits[1:] + hits[:-1]) / 2 * np.diff(misses)).sum())
    return ratio(area, float(hits[-1] * misses[-1]))
