"""Conformal p-values from counts: where the rows of a window rank among the reference and everything seen since.

While the window's rows are exchangeable with the past, the p-values are independent and exactly uniform on (0, 1), however
small the reference is. Nothing but the counts of fixed cells is needed.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from scipy.special import gammaln, logsumexp

from tidemill.measures.arrays import Floats, Ints


def thinned(counts: Ints, rows: int, rng: Generator) -> Ints:
    """A random subset of so many rows, as counts; the counts themselves when there are not more.

    Example:
        >>> int(thinned(np.array([50, 50]), 10, np.random.default_rng(0)).sum())
        10
    """
    if counts.sum() <= rows:
        return counts
    return rng.multivariate_hypergeometric(counts, rows, method="marginals").astype(np.int64)


def conformal_ranks(past: Ints, counts: Ints, rng: Generator) -> Floats:
    """One p-value per row of the window: its cell's rank among all rows before it, ties broken at random.

    The rows are taken in a random order, and each is ranked among the past and the rows taken before it.

    Args:
        past: Rows per cell so far, shape (k,).
        counts: Rows per cell of the window, shape (k,).
        rng: Source of the order and of the ties.

    Returns:
        Shape (rows of the window,).

    Example:
        >>> conformal_ranks(np.array([99, 0]), np.array([0, 1]), np.random.default_rng(0)) > 0.99
        array([ True])
    """
    cells = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    rows = len(cells)
    at = np.arange(rows)
    taken = np.zeros((rows, len(counts)), dtype=np.int64)
    taken[at, cells] = 1
    taken = np.cumsum(taken, axis=0) - taken  # rows per cell taken before this one
    upto = np.cumsum(taken + past, axis=1)[at, cells]
    same = taken[at, cells] + past[cells]
    below = upto - same
    return np.asarray((below + rng.random(rows) * (same + 1)) / (at + past.sum() + 1))


def rate_p_values(past: tuple[int, int], rows: int, marked: int, rng: Generator) -> tuple[float, float] | None:
    """How unusual a number of marked rows is, conditionally on all rows so far: an exact randomised test.

    Given how many rows are marked in past and window together, the number that falls into the window is hypergeometric
    whatever the rate is.

    Args:
        past: Rows so far, and marked rows among them.
        rows: Rows of the window.
        marked: Marked rows among those.
        rng: Source of the randomisation.

    Returns:
        Uniform p-values for a rise and for a fall, None where nothing can be told (no row or all rows are marked).

    Example:
        >>> rate_p_values((1000, 0), 100, 20, np.random.default_rng(0))[0] < 1e-15
        True
    """
    total, all_marked = past[0] + rows, past[1] + marked
    low, high = max(0, rows - (total - all_marked)), min(rows, all_marked)
    if low == high:
        return None
    possible = np.arange(low, high + 1)
    log_mass = _log_choose(all_marked, possible) + _log_choose(total - all_marked, rows - possible)
    log_mass -= logsumexp(log_mass)
    mass, at, u = np.exp(log_mass), marked - low, float(rng.random())
    rise = float(mass[at + 1 :].sum() + u * mass[at])
    fall = float(mass[:at].sum() + (1 - u) * mass[at])
    smallest = np.finfo(np.float64).tiny
    return max(min(rise, 1.0), smallest), max(min(fall, 1.0), smallest)


def value_p_value(past: Floats, value: float, rng: Generator) -> float:
    """How large a value is among past ones of its kind, ties broken at random: uniform while nothing changes.

    Example:
        >>> value_p_value(np.zeros(99), 1.0, np.random.default_rng(0)) < 0.01
        True
    """
    above = int((past > value).sum())
    same = int((past == value).sum())
    return float((above + (1 - rng.random()) * (same + 1)) / (len(past) + 1))


def _log_choose(n: int, k: Ints) -> Floats:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))
