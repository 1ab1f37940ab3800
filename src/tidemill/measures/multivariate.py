"""Distances between sets of vectors: centroids, maximum mean discrepancy, PCA reconstruction, domain score."""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike

from tidemill.core.errors import InvalidData
from tidemill.measures.arrays import Floats, finite_or_none, floats
from tidemill.measures.metrics import metric


class CentroidShift(Struct, frozen=True):
    """How far the mean vector moved; None where a set is empty (or a centroid is zero, for the angle)."""

    ref_centroid: tuple[float, ...]
    cur_centroid: tuple[float, ...]
    euclidean: float | None
    cosine_distance: float | None


class Mmd(Struct, frozen=True):
    """Unbiased squared maximum mean discrepancy and the three kernel means it is made of."""

    mmd2_u: float
    kxx: float
    kyy: float
    kxy: float


def centroid_shift(ref: ArrayLike, cur: ArrayLike) -> CentroidShift:
    """Euclidean distance and 1 - cosine of the two mean vectors.

    Args:
        ref: Embeddings, shape (n, d); rows with a missing or infinite component are left out.
        cur: Embeddings, shape (m, d).

    Example:
        >>> centroid_shift([[1.0, 0.0]], [[0.0, 1.0]]).cosine_distance
        1.0
    """
    a, b = vectors(ref), vectors(cur)
    if len(a) == 0 or len(b) == 0:
        return CentroidShift(_centroid(a), _centroid(b), None, None)
    _same_width(a, b)
    x, y = a.mean(axis=0), b.mean(axis=0)
    norms = float(np.linalg.norm(x) * np.linalg.norm(y))
    cosine = 1 - float(x @ y) / norms if norms > 0 else None
    return CentroidShift(_centroid(a), _centroid(b), finite_or_none(np.linalg.norm(x - y)), finite_or_none(cosine))


def mmd(x: ArrayLike, y: ArrayLike, gamma: float) -> Mmd | None:
    """MMD^2_u = kxx + kyy - 2 kxy with the kernel exp(-gamma |a - b|^2); kxx and kyy without the diagonal.

    Args:
        x: Shape (n, d), n >= 2.
        y: Shape (m, d), m >= 2.
        gamma: Width of the kernel, per squared unit.

    Returns:
        The discrepancy, or None with fewer than two rows on a side.

    Example:
        >>> round(mmd([[0.0], [1.0]], [[0.0], [1.0]], gamma=1.0).mmd2_u, 6)
        -0.632121
    """
    a, b = vectors(x), vectors(y)
    if len(a) < 2 or len(b) < 2:
        return None
    _same_width(a, b)
    kxx, kyy = (_off_diagonal_mean(_kernel(side, side, gamma)) for side in (a, b))
    kxy = float(_kernel(a, b, gamma).mean())
    return Mmd(kxx + kyy - 2 * kxy, kxx, kyy, kxy)


def median_gamma(x: ArrayLike, y: ArrayLike) -> float | None:
    """The customary kernel width 1 / median distance squared, None when all points coincide.

    Example:
        >>> median_gamma([[0.0]], [[2.0]])
        0.25
    """
    points = np.concatenate([vectors(x), vectors(y)])
    squares = _squared_distances(points, points)[np.triu_indices(len(points), 1)]
    squares = squares[squares > 0]
    return finite_or_none(1 / np.median(squares)) if len(squares) else None


def pca_errors(ref: ArrayLike, new: ArrayLike, components: int = 1) -> tuple[float, ...]:
    """Distance of every new point from the reference's leading components, in standard deviations.

    Columns are standardised by the reference (ddof 0; a constant keeps its scale), the reference's leading
    components are kept, and the error is the Euclidean norm of what they do not explain. Finds points whose
    marginals are all usual.

    Args:
        ref: Reference rows, shape (n, d).
        new: New rows, shape (m, d).
        components: How many to keep.

    Example:
        >>> [round(error, 6) for error in pca_errors([[0, 0], [1, 1], [2, 2]], [[1, 1], [0, 2]])]
        [0.0, 1.732051]
    """
    a, b = vectors(ref), vectors(new)
    if len(a) == 0 or len(b) == 0:
        return ()
    _same_width(a, b)
    spread = a.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    axes = np.linalg.svd((a - a.mean(axis=0)) / scale, full_matrices=False)[2][:components]
    points = (b - a.mean(axis=0)) / scale
    return tuple(np.linalg.norm(points - points @ axes.T @ axes, axis=1).tolist())


def domain_auc(is_current: ArrayLike, p_current: ArrayLike) -> float | None:
    """ROC AUC of a classifier that tells window rows from reference rows: 0.5 = it cannot.

    Example:
        >>> domain_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.75
    """
    return metric("roc_auc")(is_current, p_current)


def vectors(values: ArrayLike) -> Floats:
    """Rows of finite components as a matrix, shape (n, d).

    Raises:
        InvalidData: If the rows differ in length.
    """
    rows = np.atleast_2d(floats(values))
    if rows.size == 0:
        return rows.reshape(0, rows.shape[-1])
    return rows[np.isfinite(rows).all(axis=1)]


def _same_width(a: Floats, b: Floats) -> None:
    if a.shape[1] != b.shape[1]:
        raise InvalidData(f"The reference has vectors of {a.shape[1]} components, the window of {b.shape[1]}")


def _centroid(rows: Floats) -> tuple[float, ...]:
    return tuple(rows.mean(axis=0).tolist()) if len(rows) else ()


def _squared_distances(a: Floats, b: Floats) -> Floats:
    square = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2 * a @ b.T
    return np.asarray(np.maximum(square, 0.0))


def _kernel(a: Floats, b: Floats, gamma: float) -> Floats:
    return np.asarray(np.exp(-gamma * _squared_distances(a, b)))


def _off_diagonal_mean(kernel: Floats) -> float:
    n = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))
