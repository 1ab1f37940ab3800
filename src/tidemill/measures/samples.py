"""Distances between two samples of raw values: Kolmogorov-Smirnov and Wasserstein.

Values that are missing or infinite are left out; without values on one side the answer is None.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kstwo

from tidemill.measures.arrays import Floats, finite_or_none, floats

EXACT_CELLS = 4_000_000


def finite(values: ArrayLike) -> Floats:
    """The finite values as a flat array.

    Example:
        >>> finite([1.0, None, float("inf")])
        array([1.])
    """
    flat = floats(values).ravel()
    return flat[np.isfinite(flat)]


def ks_d(ref: ArrayLike, cur: ArrayLike) -> float | None:
    """The largest gap of the two empirical distribution functions, ties stepping together.

    Example:
        >>> round(ks_d([1, 2, 3, 4], [3, 4, 5, 6]), 12)
        0.5
    """
    gap = ks_fraction(ref, cur)
    return None if gap is None else float(gap)


def ks_fraction(ref: ArrayLike, cur: ArrayLike) -> Fraction | None:
    """The same gap as an exact fraction.

    Example:
        >>> ks_fraction([1, 2, 3], [3, 4])
        Fraction(2, 3)
    """
    a, b = np.sort(finite(ref)), np.sort(finite(cur))
    if len(a) == 0 or len(b) == 0:
        return None
    steps = np.concatenate([a, b])
    below_a, below_b = (np.searchsorted(side, steps, side="right") for side in (a, b))
    widest = np.abs(below_a * len(b) - below_b * len(a)).max()
    return Fraction(int(widest), len(a) * len(b))


def ks_p(d: float | Fraction, n: int, m: int) -> float | None:
    """Two-sided P(D >= d) without ties: exact for n m up to 4 million, then the usual approximation.

    Args:
        d: The observed gap, in [0, 1].
        n: Values in one sample.
        m: Values in the other.

    Example:
        >>> round(ks_p(Fraction(4, 7), 8, 7), 9)
        0.141414141
    """
    if n <= 0 or m <= 0:
        return None
    if n * m > EXACT_CELLS:
        return float(kstwo.sf(float(d), round(n * m / (n + m))))
    return _ks_p_exact(d, n, m)


def _ks_p_exact(d: float | Fraction, n: int, m: int) -> float:
    """Share of lattice paths from (0, 0) to (n, m) that leave the band |i/n - j/m| < d.

    Walked diagonal by diagonal: `left[i]` is the chance that a random order of i values of one sample and s
    - i of the other has left the band. Small p-values keep their relative precision, as nothing is
    subtracted from one.
    """
    reach = math.ceil(float(d) * n * m - 1e-6)
    left = np.zeros(n + 1)
    i = np.arange(n + 1)
    for s in range(1, n + m + 1):
        share = i / s
        stay = left * (1 - share)
        stay[1:] += left[:-1] * share[1:]
        j = s - i
        stay[(np.abs(i * m - j * n) >= reach) & (j >= 0) & (j <= m)] = 1.0
        stay[(j < 0) | (j > m)] = 0.0
        left = stay
    return float(min(max(left[n], 0.0), 1.0))


def wasserstein(ref: ArrayLike, cur: ArrayLike) -> float | None:
    """The area between the two distribution functions, in the unit of the values.

    Example:
        >>> wasserstein([0, 1], [2, 3])
        2.0
    """
    a, b = np.sort(finite(ref)), np.sort(finite(cur))
    if len(a) == 0 or len(b) == 0:
        return None
    steps = np.sort(np.concatenate([a, b]))
    left = steps[:-1]
    gap = np.searchsorted(a, left, side="right") / len(a) - np.searchsorted(b, left, side="right") / len(b)
    with np.errstate(over="ignore"):
        return finite_or_none((np.abs(gap) * np.diff(steps)).sum())


def wasserstein_scaled(ref: ArrayLike, cur: ArrayLike) -> float | None:
    """The same in units of the reference's spread: interquartile range, else standard deviation, else None.

    Example:
        >>> wasserstein_scaled([0, 1, 2, 3, 4], [2, 3, 4, 5, 6])
        1.0
    """
    area, scale = wasserstein(ref, cur), robust_scale(finite(ref))
    return None if area is None or scale is None else finite_or_none(area / scale)


def robust_scale(values: Floats) -> float | None:
    """Interquartile range, else the standard deviation (ddof 0), None for a constant or nothing.

    Example:
        >>> robust_scale(np.array([0.0, 0.0, 0.0, 0.0, 5.0]))
        2.0
    """
    if len(values) == 0:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = np.quantile(values, [0.25, 0.75])
        spread = high - low if high > low else values.std()
    return finite_or_none(spread) if spread > 0 else None
