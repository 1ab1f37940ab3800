"""The numbers other tools show, for people who move and for cross-checks.

Evidently 0.7 (its binning, zero floor and square-rooted natural-log Jensen-Shannon), NannyML (Doane bins of
the reference plus an overflow bin), MLRun (its general drift). Tidemill's own alerts never depend on them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from tidemill.measures.arrays import Floats, Ints, finite_or_none
from tidemill.measures.bins import count_between, count_with_overflow, equal_width_edges
from tidemill.measures.distances import both_shares, hellinger, js_dist, tvd
from tidemill.measures.samples import finite, wasserstein

MlrunStatus = Literal["no_detection", "potential_detection", "detected"]
POTENTIAL, DETECTED = 0.5, 0.7
MANY_VALUES = 20
STD_FLOOR = 0.001


def evidently_floor(p: Floats) -> Floats:
    """Empty shares raised to 1e-4, or to a millionth of the smallest other one if that is at most 1e-4.

    Example:
        >>> evidently_floor(np.array([1.0, 0.0]))
        array([1.e+00, 1.e-04])
    """
    smallest = p[p > 0].min()
    return np.where(p == 0, smallest / 1e6 if smallest <= 1e-4 else 1e-4, p)


def psi_evidently(ref: ArrayLike, cur: ArrayLike) -> float | None:
    """The index of two histograms, floored on each side, not renormalised.

    Example:
        >>> round(psi_evidently([100, 0], [0, 100]), 6)
        18.418839
    """
    pair = both_shares(ref, cur)
    if pair is None:
        return None
    p, q = (evidently_floor(side) for side in pair)
    return float(((p - q) * np.log(p / q)).sum())


def kl_evidently(ref: ArrayLike, cur: ArrayLike) -> float | None:
    """KL(ref, cur) in nats after the same floor, renormalised as scipy's entropy does."""
    pair = both_shares(ref, cur)
    if pair is None:
        return None
    p, q = (evidently_floor(side) for side in pair)
    p, q = p / p.sum(), q / q.sum()
    return float((p * np.log(p / q)).sum())


def evidently_counts(ref: ArrayLike, cur: ArrayLike) -> tuple[Ints, Ints]:
    """Its histograms: Sturges bins over both, or one cell per value when the reference has at most 20.

    Example:
        >>> [side.tolist() for side in evidently_counts([1, 1, 2], [2, 3])]
        [[2, 1, 0], [0, 1, 1]]
    """
    a, b = finite(ref), finite(cur)
    if len(np.unique(a)) > MANY_VALUES:
        edges = equal_width_edges(np.concatenate([a, b]), "sturges")
        return count_between(a, edges), count_between(b, edges)
    values = np.unique(np.concatenate([a, b]))
    return _per_value(a, values), _per_value(b, values)


def hellinger_evidently(ref: ArrayLike, cur: ArrayLike) -> float | None:
    """Its Hellinger distance, on Sturges bins over the sorted distinct values of both."""
    edges = equal_width_edges(np.unique(np.concatenate([finite(ref), finite(cur)])), "sturges")
    return hellinger(count_between(ref, edges), count_between(cur, edges))


def wasserstein_evidently(ref: ArrayLike, cur: ArrayLike) -> float | None:
    """Wasserstein over max(std of the reference (ddof 0), 0.001)."""
    area, values = wasserstein(ref, cur), finite(ref)
    if area is None:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        return finite_or_none(area / max(values.std(), STD_FLOOR))


def nannyml_counts(ref: ArrayLike, cur: ArrayLike) -> tuple[Ints, Ints]:
    """Its histograms: Doane bins of the reference plus one overflow cell (empty in the reference)."""
    edges = equal_width_edges(ref, "doane")
    return count_with_overflow(ref, edges), count_with_overflow(cur, edges)


def js_nannyml(ref: ArrayLike, cur: ArrayLike) -> float | None:
    """Jensen-Shannon distance, base 2, on those bins."""
    return js_dist(*nannyml_counts(ref, cur), base=2.0)


def hellinger_nannyml(ref: ArrayLike, cur: ArrayLike) -> float | None:
    """Hellinger distance on those bins."""
    return hellinger(*nannyml_counts(ref, cur))


def mlrun_kld(ref: ArrayLike, cur: ArrayLike) -> float | None:
    """KL both ways added up, zero denominators raised to 1e-4.

    Example:
        >>> round(mlrun_kld([100, 0], [0, 100]), 6)
        18.420681
    """
    pair = both_shares(ref, cur)
    return None if pair is None else _mlrun_kl(*pair) + _mlrun_kl(*pair[::-1])


def mlrun_drift(ref: ArrayLike, cur: ArrayLike) -> float | None:
    """(TVD + Hellinger) / 2 of one feature."""
    total, angle = tvd(ref, cur), hellinger(ref, cur)
    return None if total is None or angle is None else (total + angle) / 2


def mlrun_general_drift(drifts: Iterable[float | None]) -> float | None:
    """The mean over features: one broken feature of ten is lost in it, so Tidemill alerts per feature.

    Example:
        >>> mlrun_general_drift([1.0] + [0.0] * 9)
        0.1
    """
    known = [value for value in drifts if value is not None]
    return float(np.mean(known)) if known else None


def mlrun_status(drift: float) -> MlrunStatus:
    """Its verdict, boundaries inclusive.

    Example:
        >>> mlrun_status(0.5)
        'potential_detection'
    """
    if drift >= DETECTED:
        return "detected"
    return "potential_detection" if drift >= POTENTIAL else "no_detection"


def _mlrun_kl(p: Floats, q: Floats) -> float:
    seen = p > 0
    return float((p[seen] * np.log(p[seen] / np.where(q == 0, 1e-4, q)[seen])).sum())


def _per_value(values: Floats, known: Floats) -> Ints:
    return np.bincount(np.searchsorted(known, values), minlength=len(known)).astype(np.int64)
