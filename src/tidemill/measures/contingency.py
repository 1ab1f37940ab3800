"""Chi-squared tests on counts. A statistic that is not finite is None (Tidemill never stores an infinity)."""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike
from scipy.special import chdtrc

from tidemill.measures.arrays import Floats, floats


class Chi2(Struct, frozen=True):
    """A chi-squared statistic, its p-value and degrees of freedom; None where the test is not defined."""

    stat: float | None
    p: float | None
    df: int


def goodness_of_fit(ref_counts: ArrayLike, cur_counts: ArrayLike) -> Chi2:
    """The window against shares of the reference taken as exact: expected = ref x n_cur / n_ref, df = k - 1.

    A cell both sides lack is left out. A cell only the reference lacks makes the statistic infinite: None.

    Example:
        >>> round(goodness_of_fit([60, 30, 10], [40, 40, 20]).stat, 9)
        20.0
    """
    ref, cur = floats(ref_counts), floats(cur_counts)
    used = (ref > 0) | (cur > 0)
    ref, cur = ref[used], cur[used]
    if ref.sum() == 0 or cur.sum() == 0 or len(ref) < 2 or (ref == 0).any():
        return Chi2(None, None, max(len(ref) - 1, 0))
    expected = ref * cur.sum() / ref.sum()
    return _tested(((cur - expected) ** 2 / expected).sum(), len(ref) - 1)


def two_sample(ref_counts: ArrayLike, cur_counts: ArrayLike, *, yates: bool = False) -> Chi2:
    """The 2 x k table of both, df = k - 1; with `yates` |o - e| is reduced by min(0.5, |o - e|).

    Example:
        >>> round(two_sample([60, 30, 10], [40, 40, 20]).p, 9)
        0.012513435
    """
    table = np.stack([floats(ref_counts), floats(cur_counts)])
    return contingency(table, yates=yates)


def contingency(table: ArrayLike, *, yates: bool = False) -> Chi2:
    """Independence of rows and columns of a table of counts; empty rows and columns are left out.

    Args:
        table: Counts, shape (r, k).
        yates: Whether to correct for continuity.

    Example:
        >>> contingency([[10, 10], [20, 20]]).stat
        0.0
    """
    counts = floats(table)
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    df = max(counts.shape[0] - 1, 0) * max(counts.shape[1] - 1, 0)
    if df == 0:
        return Chi2(None, None, 0)
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0, keepdims=True) / counts.sum()
    return _tested((_corrected(np.abs(counts - expected), yates) ** 2 / expected).sum(), df)


def _corrected(gap: Floats, yates: bool) -> Floats:
    return gap - np.minimum(0.5, gap) if yates else gap


def _tested(stat: float, df: int) -> Chi2:
    return Chi2(float(stat), float(chdtrc(df, stat)), df)
