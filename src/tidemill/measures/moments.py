"""Count, mean and sum of squared deviations: three numbers that merge exactly."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import reduce

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike

from tidemill.measures.arrays import Floats
from tidemill.measures.samples import finite

_LARGEST = sys.float_info.max


class Moments(Struct, frozen=True):
    """Moments of finite values.

    Attributes:
        n: How many values.
        mean: Their mean, 0 without values.
        m2: Sum of squared deviations from the mean; capped at the largest float, so that it is always finite.
    """

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0

    def variance(self, ddof: int = 0) -> float | None:
        """M2 / (n - ddof), None with too few values.

        Example:
            >>> moments([1.0, 3.0]).variance(), moments([1.0]).variance(ddof=1)
            (1.0, None)
        """
        return self.m2 / (self.n - ddof) if self.n > ddof else None

    def std(self, ddof: int = 0) -> float | None:
        """The standard deviation, None with too few values."""
        variance = self.variance(ddof)
        return None if variance is None else float(np.sqrt(variance))


def moments(values: ArrayLike) -> Moments:
    """The moments of the finite values.

    Example:
        >>> moments([1.0, 2.0, 3.0, None])
        Moments(n=3, mean=2.0, m2=2.0)
    """
    return finite_moments(finite(values))


def finite_moments(values: Floats) -> Moments:
    """The same for values known to be finite."""
    if len(values) == 0:
        return Moments()
    with np.errstate(over="ignore", invalid="ignore"):
        mean = values.mean()
        gap = values - mean
        m2 = float(gap @ gap)
    return Moments(len(values), float(mean), m2) if np.isfinite(m2) else _scaled_moments(values)


def merge(a: Moments, b: Moments) -> Moments:
    """The moments of both sets together (Chan, Golub, LeVeque 1979).

    Example:
        >>> merge(moments([1.0, 2.0, 3.0, 4.0]), moments([10.0, 20.0])).n
        6
    """
    if a.n == 0 or b.n == 0:
        return a if b.n == 0 else b
    n = a.n + b.n
    mean = a.mean * (a.n / n) + b.mean * (b.n / n)
    gap = b.mean - a.mean
    return Moments(n, mean, min(a.m2 + b.m2 + gap * gap * (a.n * (b.n / n)), _LARGEST))


def merge_all(parts: Iterable[Moments]) -> Moments:
    """The moments of all parts together, in any order."""
    return reduce(merge, parts, Moments())


def _scaled_moments(values: Floats) -> Moments:
    """For values so large that their squares overflow."""
    scale = float(np.abs(values).max())
    small = values / scale
    gap = small - small.mean()
    return Moments(len(values), float(small.mean()) * scale, min(float(gap @ gap) * scale * scale, _LARGEST))
