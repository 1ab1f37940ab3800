"""Bets against uniform p-values: numbers that are on average 1 while nothing changes and grow when something does.

All are returned as logarithms of e-values.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaln, logsumexp

from tidemill.measures.arrays import Floats

LOCATION = np.array([-0.6, -0.3, -0.15, 0.15, 0.3, 0.6])
SCALE = np.array([-0.35, -0.15, 0.2, 0.5])
CONCENTRATIONS = np.array([10.0, 100.0, 1000.0, 10000.0])


def log_mixture(p: Floats) -> float:
    """Bets on where p-values lie: the mean over ten of prod(1 + lambda g(p)).

    g = 2p - 1 finds a move up or down, g = 12 (p - 1/2)^2 - 1 a wider or narrower spread; both have mean zero.

    Args:
        p: p-values, shape (n,).

    Example:
        >>> log_mixture(np.full(100, 0.9)) > 10
        True
    """
    location = 2 * p - 1
    spread = 12 * (p - 0.5) ** 2 - 1
    logs = [np.log1p(np.outer(bets, g)).sum(axis=1) for bets, g in ((LOCATION, location), (SCALE, spread))]
    together = np.concatenate(logs)
    return float(logsumexp(together)) - math.log(len(together))


def log_dirichlet(p: Floats, widths: Floats) -> float:
    """A bet on any other histogram of p-values: Dirichlet mixture over the cells' shares against their widths.

    Cells as wide as the reference's shares make it the Bayes factor of "other shares" against "the reference's shares";
    the mean over four concentrations bets on small and on large changes.

    Args:
        p: p-values, shape (n,).
        widths: Widths of the cells, positive, shape (k,), adding up to 1.

    Example:
        >>> log_dirichlet(np.full(50, 0.95), np.array([0.5, 0.5])) > 10
        True
    """
    cells = np.minimum(np.searchsorted(np.cumsum(widths), p, side="right"), len(widths) - 1)
    counts = np.bincount(cells, minlength=len(widths))
    prior = CONCENTRATIONS[:, None] * widths[None, :]
    logs = (gammaln(prior + counts) - gammaln(prior)).sum(axis=1)
    logs += gammaln(CONCENTRATIONS) - gammaln(CONCENTRATIONS + len(p))
    return float(logsumexp(logs)) - math.log(len(logs)) - float(counts @ np.log(widths))


def log_calibrated(p: float) -> float:
    """A single p-value as an e-value: the mean over kappa in (0, 1) of kappa p^(kappa - 1) (Vovk and Wang 2021).

    It equals (e^L - 1 - L) / L^2 with L = -ln p.

    Example:
        >>> round(math.exp(log_calibrated(1.0)), 6), log_calibrated(1e-6) > 8
        (0.5, True)
    """
    depth = -math.log(p)
    if depth < 1e-2:
        return math.log(0.5 + depth / 6 + depth**2 / 24 + depth**3 / 120)
    return depth - 2 * math.log(depth) + math.log1p(-(1 + depth) * math.exp(-depth))


def log_average(*logs: float) -> float:
    """Log of the mean of e-values: the mean of e-values is an e-value, however they depend on each other.

    Example:
        >>> round(math.exp(log_average(math.log(3.0), math.log(1.0))), 12)
        2.0
    """
    return float(np.logaddexp.reduce(logs)) - math.log(len(logs))
