"""Is the candidate better than the champion on the same rows, and how sure is that?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike

from tidemill.measures.arrays import Floats, floats
from tidemill.measures.metrics import Metric, metric, usable_rows

Z95 = 1.959963984540054


class Gain(Struct, frozen=True):
    """How much better a candidate is than the champion; positive = better, whatever the metric's direction.

    Attributes:
        mean: The gain in the metric's unit, None where the metric is not defined.
        lower95: Lower end of its two-sided 95 % interval, None where it cannot be told.
        n: Rows (or folds) it rests on.
    """

    mean: float | None
    lower95: float | None
    n: int


def paired_gain(
    name: str | Metric, y: ArrayLike, candidate: ArrayLike, champion: ArrayLike, n: int = 200, seed: int = 0
) -> Gain:
    """The gain on the same rows, with a paired bootstrap for its lower bound.

    Rows are drawn together for both models, so that what is hard for both cancels.

    Args:
        name: A metric or its name.
        y: Truth, shape (rows,).
        candidate: The candidate's predictions, same rows.
        champion: The champion's predictions, same rows.
        n: Bootstrap draws.
        seed: Seed of the draws.

    Returns:
        The gain on all rows and the 2.5 % quantile of the draws. Draws on which the metric is not defined
        (one class only) are left out; if more than half are, there is no bound.

    Example:
        >>> paired_gain("accuracy", [0, 1, 1, 0] * 20, [0, 1, 1, 0] * 20, [0, 1, 0, 0] * 20).mean
        0.25
    """
    one = metric(name) if isinstance(name, str) else name
    truth, new, old = _rows_of_both(y, candidate, champion)
    mean = _gain(one, truth, new, old)
    if mean is None:
        return Gain(None, None, len(truth))
    drawn = [value for value in _draws(one, truth, new, old, n, seed) if value is not None]
    lower = float(np.quantile(drawn, 0.025)) if 2 * len(drawn) > n else None
    return Gain(mean, lower, len(truth))


def fold_gain(gains: ArrayLike) -> Gain:
    """The gain over folds with its normal bound: mean - 1.96 s / sqrt(n), s with n - 1.

    Args:
        gains: One gain per fold, shape (folds,).

    Example:
        >>> round(fold_gain([0.012, 0.010, 0.008, 0.011, 0.009]).lower95, 6)
        0.008614
    """
    values = floats(gains)
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return Gain(None, None, 0)
    mean = float(values.mean())
    if len(values) == 1:
        return Gain(mean, None, 1)
    return Gain(mean, mean - Z95 * float(values.std(ddof=1)) / len(values) ** 0.5, len(values))


def holds(gain: Gain, min_gain: float = 0.0, *, confident: bool = False) -> bool:
    """Whether the gate lets the candidate pass: mean >= min_gain and, where asked, lower95 > 0.

    Example:
        >>> holds(Gain(0.006, -0.012, 5), 0.005), holds(Gain(0.006, -0.012, 5), 0.005, confident=True)
        (True, False)
    """
    if gain.mean is None or gain.mean < min_gain:
        return False
    return not confident or (gain.lower95 is not None and gain.lower95 > 0)


def _rows_of_both(y: ArrayLike, candidate: ArrayLike, champion: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """The rows where truth and both predictions are finite."""
    new, old = floats(candidate), floats(champion)
    truth = floats(y).ravel()
    if len(truth) == len(new) == len(old):
        finite = np.isfinite(_row_sum(new)) & np.isfinite(_row_sum(old))
        truth = np.where(finite, truth, np.nan)
    kept, clean_new = usable_rows(truth, new)
    return kept, clean_new, usable_rows(truth, old)[1]


def _row_sum(pred: Floats) -> Floats:
    return np.asarray(pred.sum(axis=1)) if pred.ndim == 2 else pred


def _gain(one: Metric, y: Floats, candidate: Floats, champion: Floats) -> float | None:
    new, old = one.on_clean(y, candidate), one.on_clean(y, champion)
    return None if new is None or old is None else one.gain(new, old)


def _draws(one: Metric, y: Floats, new: Floats, old: Floats, n: int, seed: int) -> Iterator[float | None]:
    rng = np.random.default_rng(seed)
    for _ in range(n):
        rows = rng.integers(0, len(y), len(y))
        yield _gain(one, y[rows], new[rows], old[rows])
