"""Error bounds of KLL quantile sketches, so that a number from sketches can say how exact it is."""

from __future__ import annotations


def kll_rank_error(k: int, *, pmf: bool = False) -> float:
    """The rank error of a KLL sketch at 99 % confidence (datasketches' empirical fit).

    Args:
        k: The sketch's size parameter.
        pmf: For all bins of a histogram at once rather than a single rank.

    Example:
        >>> round(kll_rank_error(200), 4), round(kll_rank_error(200, pmf=True), 4)
        (0.0133, 0.0165)
    """
    return float(2.446 / k**0.9433 if pmf else 2.296 / k**0.9723)


def ks_slack(k_ref: int, k_cur: int) -> float:
    """How far a KS statistic from two sketches may be from the exact one: the sum of both rank errors.

    Example:
        >>> round(ks_slack(200, 200), 4)
        0.0266
    """
    return kll_rank_error(k_ref) + kll_rank_error(k_cur)
