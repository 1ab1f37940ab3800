"""How far a regressor's predictions are from the truth.

Every function takes truth `y` and predictions `pred` of shape (n,), in the target's unit and free of missing
values, and returns a float or None where the number is not defined.
"""

from __future__ import annotations

import numpy as np

from tidemill.measures.arrays import Floats, finite_or_none


def _mean(values: Floats) -> float | None:
    return finite_or_none(values.mean()) if len(values) else None


def mse(y: Floats, pred: Floats) -> float | None:
    """Mean squared error, in the target's unit squared."""
    return _mean((y - pred) ** 2)


def rmse(y: Floats, pred: Floats) -> float | None:
    """Root of the mean squared error, in the target's unit.

    Example:
        >>> rmse(np.array([0.0, 0.0]), np.array([3.0, 3.0]))
        3.0
    """
    square = mse(y, pred)
    return None if square is None else float(np.sqrt(square))


def mae(y: Floats, pred: Floats) -> float | None:
    """Mean absolute error, in the target's unit.

    Example:
        >>> mae(np.array([0.0, 0.0]), np.array([1.0, -3.0]))
        2.0
    """
    return _mean(np.abs(y - pred))


def r2(y: Floats, pred: Floats) -> float | None:
    """1 - residual / total sum of squares; None for a constant target or fewer than two rows.

    Example:
        >>> r2(np.array([0.0, 2.0]), np.array([1.0, 1.0]))
        0.0
    """
    if len(y) < 2:
        return None
    total = ((y - y.mean()) ** 2).sum()
    return finite_or_none(1 - ((y - pred) ** 2).sum() / total) if total > 0 else None


def mape(y: Floats, pred: Floats) -> float | None:
    """Mean of |y - pred| / |y| as a ratio, over the rows whose truth is not zero.

    Example:
        >>> mape(np.array([2.0, 0.0]), np.array([1.0, 5.0]))
        0.5
    """
    known = y != 0
    return _mean(np.abs((y[known] - pred[known]) / y[known]))


def smape(y: Floats, pred: Floats) -> float | None:
    """Mean of 2 |y - pred| / (|y| + |pred|), a ratio in [0, 2]; a row where both are zero counts as 0.

    Example:
        >>> smape(np.array([1.0, 0.0]), np.array([3.0, 0.0]))
        0.5
    """
    size = np.abs(y) + np.abs(pred)
    return _mean(np.divide(2 * np.abs(y - pred), size, out=np.zeros(len(y)), where=size > 0))
