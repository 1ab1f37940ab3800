"""Numbers as the measures want them: flat float arrays, and floats that are finite or None."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tidemill.core.errors import InvalidData

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def floats(values: ArrayLike | Any) -> Floats:
    """Values as a float64 array; None and missing values become NaN.

    Args:
        values: A list, a numpy array, or anything with `to_numpy` (a Polars or pandas series).

    Raises:
        InvalidData: If a value is not a number.

    Example:
        >>> floats([1, None, True])
        array([ 1., nan,  1.])
    """
    plain = values.to_numpy() if hasattr(values, "to_numpy") else values
    try:
        return np.asarray(plain, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidData(
            f"These values are not all numbers: {error}", hint="Pass numbers, booleans or missing values"
        ) from error


def finite_or_none(value: float | np.floating[Any] | None) -> float | None:
    """The value as a Python float, or None where it is absent, NaN or infinite.

    Example:
        >>> finite_or_none(float("inf")) is None
        True
    """
    if value is None or not np.isfinite(value):
        return None
    return float(value)


def ratio(numerator: float, denominator: float) -> float | None:
    """The quotient, or None where the denominator is zero.

    Example:
        >>> ratio(1, 4), ratio(1, 0)
        (0.25, None)
    """
    return finite_or_none(float(numerator) / float(denominator)) if denominator else None
