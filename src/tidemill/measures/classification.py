"""How good a classifier's scores and labels are.

Every function takes labels `y` (0/1, or class indices for a matrix of scores) and `pred` (probabilities of
class 1 of shape (n,), or of every class of shape (n, k)), both free of missing values, and returns a float
or None where the number is not defined: no rows, or one class only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tidemill.measures.arrays import Floats, Ints, ratio

Score = Callable[[Floats, Floats], float | None]
CLIP = 1e-15
THRESHOLD = 0.5


def labels_of(pred: Floats) -> Floats:
    """The predicted class: the likeliest of a matrix, else whether the score reaches one half.

    Example:
        >>> labels_of(np.array([0.2, 0.5]))
        array([0., 1.])
    """
    if pred.ndim == 2:
        return np.asarray(np.argmax(pred, axis=1), dtype=np.float64)
    return np.where(pred >= THRESHOLD, 1.0, 0.0)


def rank_ties_half(values: Floats) -> Floats:
    """Ranks from 1, ties sharing the mean of their ranks.

    Example:
        >>> rank_ties_half(np.array([3.0, 1.0, 3.0]))
        array([2.5, 1. , 2.5])
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sizes = np.diff(np.r_[starts, len(values)])
    ranks = np.empty(len(values))
    ranks[order] = np.repeat(starts + (sizes + 1) / 2, sizes)
    return ranks


def binary_roc_auc(y: Floats, score: Floats) -> float | None:
    """P(a positive scores above a negative), ties one half (Mann-Whitney U), in O(n log n).

    Example:
        >>> binary_roc_auc(np.array([0.0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
        0.75
    """
    positive = y > 0
    n1 = int(positive.sum())
    n0 = len(y) - n1
    if n0 == 0 or n1 == 0:
        return None
    rank_sum = rank_ties_half(score)[positive].sum()
    return float((rank_sum - n1 * (n1 + 1) / 2) / (n0 * n1))


def binary_average_precision(y: Floats, score: Floats) -> float | None:
    """Sum over distinct thresholds of (recall step) x precision, without interpolation; None without a positive.

    Example:
        >>> round(binary_average_precision(np.array([0.0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])), 6)
        0.833333
    """
    hits, shown = cumulative_hits(y, score)
    if len(hits) == 0 or hits[-1] == 0:
        return None
    steps = np.diff(np.r_[0.0, hits]) / hits[-1]
    return float((steps * hits / shown).sum())


def cumulative_hits(y: Floats, score: Floats) -> tuple[Floats, Floats]:
    """Positives and rows at or above each distinct score, scores descending.

    Returns:
        Two arrays of the length of the distinct scores: true positives, and true plus false positives.
    """
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.r_[score[order][1:] != score[order][:-1], True]) if len(y) else np.empty(0, int)
    return np.cumsum(y[order] > 0)[ends].astype(np.float64), (ends + 1).astype(np.float64)


def log_loss(y: Floats, pred: Floats) -> float | None:
    """Mean negative log-likelihood in nats, probabilities clipped to [1e-15, 1 - 1e-15].

    Example:
        >>> round(log_loss(np.array([1.0, 0.0]), np.array([0.8, 0.4])), 6)
        0.366985
    """
    return _mean(log_losses(y, pred))


def log_losses(y: Floats, pred: Floats) -> Floats:
    """The log loss of every row, shape (n,)."""
    return -np.log(np.clip(_probability_of_truth(y, pred), CLIP, 1 - CLIP))


def brier(y: Floats, pred: Floats) -> float | None:
    """Mean squared error of the probabilities; for a matrix the sum over classes.

    Example:
        >>> brier(np.array([1.0, 0.0]), np.array([0.5, 0.0]))
        0.125
    """
    return _mean(brier_losses(y, pred))


def brier_losses(y: Floats, pred: Floats) -> Floats:
    """The squared error of every row, shape (n,)."""
    if pred.ndim == 2:
        truth = np.arange(pred.shape[1])[None, :] == y[:, None]
        return np.asarray(((pred - truth) ** 2).sum(axis=1))
    return (pred - (y > 0)) ** 2


def zero_one_losses(y: Floats, pred: Floats) -> Floats:
    """1 for every wrongly labelled row, 0 for the others, shape (n,)."""
    return np.asarray(labels_of(pred) != y, dtype=np.float64)


def accuracy(y: Floats, pred: Floats) -> float | None:
    """Share of rows labelled rightly.

    Example:
        >>> accuracy(np.array([1.0, 0.0]), np.array([0.8, 0.6]))
        0.5
    """
    return _mean(1.0 - zero_one_losses(y, pred))


def binary_precision(y: Floats, pred: Floats) -> float | None:
    """True positives among the rows labelled positive; None when none is."""
    hits, _, shown = _hits_positives_shown(y, pred)
    return ratio(hits, shown)


def binary_recall(y: Floats, pred: Floats) -> float | None:
    """True positives among the positives; None without a positive."""
    hits, positives, _ = _hits_positives_shown(y, pred)
    return ratio(hits, positives)


def binary_f1(y: Floats, pred: Floats) -> float | None:
    """2 TP / (2 TP + FP + FN); None with neither a positive nor a row labelled positive."""
    hits, positives, shown = _hits_positives_shown(y, pred)
    return ratio(2 * hits, positives + shown)


def over_classes(score: Score) -> Score:
    """The binary metric on a vector, its unweighted mean over classes (one against the rest) on a matrix.

    A class on which the metric is not defined is left out of the mean.
    """

    def metric(y: Floats, pred: Floats) -> float | None:
        if pred.ndim == 1:
            return score(y, pred)
        values = [score((y == k).astype(np.float64), column) for k, column in _columns(score, pred)]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None

    return metric


def _columns(score: Score, pred: Floats) -> list[tuple[int, Floats]]:
    by_label = score in (binary_precision, binary_recall, binary_f1)
    shown = labels_of(pred)[:, None] == np.arange(pred.shape[1]) if by_label else pred
    return [(k, shown[:, k].astype(np.float64)) for k in range(pred.shape[1])]


def _hits_positives_shown(y: Floats, pred: Floats) -> tuple[int, int, int]:
    positive, shown = y > 0, labels_of(pred) > 0
    return int((positive & shown).sum()), int(positive.sum()), int(shown.sum())


def _probability_of_truth(y: Floats, pred: Floats) -> Floats:
    if pred.ndim == 1:
        return np.where(y > 0, pred, 1 - pred)
    classes: Ints = y.astype(np.int64)
    inside = (classes >= 0) & (classes < pred.shape[1])
    chosen = pred[np.arange(len(y)), np.where(inside, classes, 0)]
    return np.where(inside, chosen, 0.0)  # a class the model never saw has probability zero


def _mean(losses: Floats) -> float | None:
    return float(losses.mean()) if len(losses) else None


roc_auc = over_classes(binary_roc_auc)
average_precision = over_classes(binary_average_precision)
precision = over_classes(binary_precision)
recall = over_classes(binary_recall)
f1 = over_classes(binary_f1)
