"""Distances between two histograms: shares of a reference against shares of a window.

All functions take counts or shares of the same cells, shape (k,), not negative; they are normalised here.
Without any mass on one side there is nothing to compare and the answer is None.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from tidemill.core.errors import InvalidData
from tidemill.measures.arrays import Floats, finite_or_none, floats

PSI_FLOOR = 1e-4


def shares(counts: ArrayLike) -> Floats | None:
    """Counts divided by their sum; None where there is no mass.

    Raises:
        InvalidData: If a count is negative or not finite.

    Example:
        >>> shares([1, 3])
        array([0.25, 0.75])
    """
    values = floats(counts)
    if values.size and (not np.isfinite(values).all() or values.min() < 0):
        raise InvalidData("Counts must be finite and not negative")
    total = values.sum()
    return values / total if total > 0 else None


def both_shares(ref: ArrayLike, cur: ArrayLike) -> tuple[Floats, Floats] | None:
    """Shares of both, None where one has no mass.

    Raises:
        InvalidData: If the two do not have the same cells.
    """
    p, q = shares(ref), shares(cur)
    if np.shape(ref) != np.shape(cur):
        raise InvalidData(f"The reference has {np.size(ref)} cells, the window {np.size(cur)}")
    return None if p is None or q is None else (p, q)


def tvd(ref: ArrayLike, cur: ArrayLike) -> float | None:
    """Total variation distance, sum |p - q| / 2, in [0, 1].

    Example:
        >>> round(tvd([60, 30, 10], [40, 40, 20]), 12)
        0.2
    """
    pair = both_shares(ref, cur)
    return None if pair is None else float(np.abs(pair[0] - pair[1]).sum() / 2)


def l_infinity(ref: ArrayLike, cur: ArrayLike) -> float | None:
    """The largest difference of shares, max |p - q|, in [0, 1]."""
    pair = both_shares(ref, cur)
    return None if pair is None else float(np.abs(pair[0] - pair[1]).max())


def hellinger(ref: ArrayLike, cur: ArrayLike) -> float | None:
    """sqrt(1 - sum sqrt(p q)), in [0, 1].

    Example:
        >>> round(hellinger([60, 30, 10], [40, 40, 20]), 9)
        0.149233152
    """
    pair = both_shares(ref, cur)
    if pair is None:
        return None
    # 1 - sum sqrt(pq) = sum (sqrt p - sqrt q)^2 / 2, which is exactly zero for equal shares
    return float(np.sqrt(min(((np.sqrt(pair[0]) - np.sqrt(pair[1])) ** 2).sum() / 2, 1.0)))


def kl(ref: ArrayLike, cur: ArrayLike) -> float | None:
    """Kullback-Leibler divergence KL(p, q) = sum p ln(p / q) in nats; None where q has a hole under p.

    Example:
        >>> round(kl([60, 30, 10], [40, 40, 20]), 9)
        0.087659725
    """
    pair = both_shares(ref, cur)
    return None if pair is None else finite_or_none(_kl(*pair))


def js_div(ref: ArrayLike, cur: ArrayLike) -> float | None:
    """Jensen-Shannon divergence (KL(p, m) + KL(q, m)) / 2, m = (p + q) / 2, in nats, in [0, ln 2]."""
    pair = both_shares(ref, cur)
    if pair is None:
        return None
    middle = (pair[0] + pair[1]) / 2
    return min(max((_kl(pair[0], middle) + _kl(pair[1], middle)) / 2, 0.0), math.log(2))


def js_dist(ref: ArrayLike, cur: ArrayLike, base: float = 2.0) -> float | None:
    """Jensen-Shannon distance, the root of the divergence in the given base; with base 2 in [0, 1].

    Example:
        >>> round(js_dist([60, 30, 10], [40, 40, 20]), 9)
        0.178746972
    """
    divergence = js_div(ref, cur)
    return None if divergence is None else math.sqrt(divergence / math.log(base))


def psi(ref: ArrayLike, cur: ArrayLike) -> float | None:
    """Population stability index sum (p - q) ln(p / q), Tidemill's own: shares floored at 1e-4, renormalised.

    Example:
        >>> round(psi([60, 30, 10], [40, 40, 20]), 9)
        0.179175947
    """
    pair = both_shares(ref, cur)
    return None if pair is None else _psi(*(_floored(side) for side in pair))


def psi_exact(ref: ArrayLike, cur: ArrayLike) -> float | None:
    """The index without any floor; None where exactly one side of a cell is empty."""
    pair = both_shares(ref, cur)
    if pair is None or ((pair[0] > 0) != (pair[1] > 0)).any():
        return None
    seen = pair[0] > 0
    return _psi(pair[0][seen], pair[1][seen])


def expected_null_psi(cells: int, n_ref: int, n_cur: int) -> float | None:
    """About what the index is when nothing changed: (B - 1)(1/n + 1/m).

    Example:
        >>> round(expected_null_psi(10, 1000, 100), 3)
        0.099
    """
    return (cells - 1) * (1 / n_ref + 1 / n_cur) if cells > 0 and n_ref > 0 and n_cur > 0 else None


def _floored(p: Floats) -> Floats:
    raised = np.maximum(p, PSI_FLOOR)
    return np.asarray(raised / raised.sum())


def _psi(p: Floats, q: Floats) -> float:
    return float(((p - q) * np.log(p / q)).sum())


def _kl(p: Floats, q: Floats) -> float:
    seen = p > 0
    if (q[seen] == 0).any():
        return math.inf
    return float((p[seen] * np.log(p[seen] / q[seen])).sum())
