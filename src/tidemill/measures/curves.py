"""The pictures of an evaluation, as points: at most 200 each, JSON-ready."""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike

from tidemill.measures.arrays import Floats
from tidemill.measures.classification import THRESHOLD, cumulative_hits, labels_of
from tidemill.measures.metrics import usable_rows

MAX_POINTS = 200


class Curve(Struct, frozen=True):
    """Points (x, y) of equal length, in drawing order; both empty where the curve is not defined."""

    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()


class Calibration(Struct, frozen=True):
    """Mean score, share of positives and rows per bin of scores; empty bins are left out."""

    predicted: tuple[float, ...] = ()
    observed: tuple[float, ...] = ()
    rows: tuple[int, ...] = ()


class Confusion(Struct, frozen=True):
    """Counts by true class (row) and predicted class (column)."""

    classes: tuple[int, ...]
    counts: tuple[tuple[int, ...], ...]


class Histogram(Struct, frozen=True):
    """Counts between edges, len(edges) == len(counts) + 1; both empty without rows."""

    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()


def roc_curve(y: ArrayLike, score: ArrayLike, max_points: int = MAX_POINTS) -> Curve:
    """False positive rate against true positive rate, from (0, 0) to (1, 1); empty with one class only.

    Example:
        >>> roc_curve([0, 1], [0.2, 0.9])
        Curve(x=(0.0, 0.0, 1.0), y=(0.0, 1.0, 1.0))
    """
    truth, shown = usable_rows(y, score)
    hits, seen = cumulative_hits(truth, shown)
    positives = hits[-1] if len(hits) else 0
    if positives in (0, len(truth)):
        return Curve()
    x = np.r_[0.0, (seen - hits) / (len(truth) - positives)]
    return _thinned(x, np.r_[0.0, hits / positives], max_points)


def precision_recall_curve(y: ArrayLike, score: ArrayLike, max_points: int = MAX_POINTS) -> Curve:
    """Recall (x) against precision (y), recall ascending; empty without a positive.

    Example:
        >>> precision_recall_curve([0, 1], [0.2, 0.9])
        Curve(x=(0.0, 1.0, 1.0), y=(1.0, 1.0, 0.5))
    """
    hits, seen = cumulative_hits(*usable_rows(y, score))
    if len(hits) == 0 or hits[-1] == 0:
        return Curve()
    return _thinned(np.r_[0.0, hits / hits[-1]], np.r_[1.0, hits / seen], max_points)


def calibration_curve(y: ArrayLike, score: ArrayLike, bins: int = 10) -> Calibration:
    """Share of positives against mean score in equal-width bins of [0, 1].

    Example:
        >>> calibration_curve([0, 1], [0.05, 0.95]).observed
        (0.0, 1.0)
    """
    truth, shown = usable_rows(y, score)
    cell = np.clip((shown * bins).astype(np.int64), 0, bins - 1)
    rows = np.bincount(cell, minlength=bins)
    full = rows > 0
    predicted, observed = (np.bincount(cell, weights=w, minlength=bins)[full] for w in (shown, truth > 0))
    counts = rows[full]
    return Calibration(
        tuple((predicted / counts).tolist()), tuple((observed / counts).tolist()), tuple(counts.tolist())
    )


def confusion_matrix(y: ArrayLike, pred: ArrayLike, threshold: float = THRESHOLD) -> Confusion:
    """Counts by true and predicted class; scores of shape (n,) are cut at the threshold.

    Example:
        >>> confusion_matrix([0, 1, 1], [0.1, 0.9, 0.2]).counts
        ((1, 0), (1, 1))
    """
    truth, shown = usable_rows(y, pred)
    guess = labels_of(shown) if shown.ndim == 2 else (shown >= threshold).astype(np.float64)
    width = max(shown.shape[1] if shown.ndim == 2 else 2, int(truth.max(initial=0)) + 1)
    cells = truth.astype(np.int64) * width + guess.astype(np.int64)
    counts = np.bincount(cells, minlength=width * width).reshape(width, width)
    return Confusion(tuple(range(width)), tuple(tuple(row) for row in counts.tolist()))


def residual_histogram(y: ArrayLike, pred: ArrayLike, bins: int = 40) -> Histogram:
    """Counts of truth minus prediction in equal-width bins.

    Example:
        >>> residual_histogram([1.0, 2.0], [1.0, 1.0], bins=2)
        Histogram(edges=(0.0, 0.5, 1.0), counts=(1, 1))
    """
    truth, shown = usable_rows(y, pred)
    residuals = truth - shown
    residuals = residuals[np.isfinite(residuals)]
    if len(residuals) == 0 or not np.isfinite(np.ptp(residuals)):
        return Histogram()
    span = (residuals.min(), residuals.max())
    edges = np.histogram_bin_edges(residuals, bins=bins, range=span) if np.ptp(residuals) > 0 else None
    if edges is None or len(np.unique(edges)) < len(edges):  # all equal up to rounding: one bin
        return Histogram((float(span[0]), float(span[1])), (len(residuals),))
    counts = np.histogram(residuals, bins=edges)[0]
    return Histogram(tuple(edges.tolist()), tuple(counts.tolist()))


def _thinned(x: Floats, y: Floats, max_points: int) -> Curve:
    """At most `max_points` of the points, evenly along the curve's own length, both ends kept."""
    if len(x) > max_points:
        length = np.cumsum(np.r_[0.0, np.abs(np.diff(x)) + np.abs(np.diff(y))])
        wanted = np.searchsorted(length, np.linspace(0, length[-1], max_points))
        wanted = np.unique(np.r_[0, wanted[1:-1], len(x) - 1])
        x, y = x[wanted], y[wanted]
    return Curve(tuple(x.tolist()), tuple(y.tolist()))
