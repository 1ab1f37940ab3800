"""Running statistics over e-values: Shiryaev-Roberts and CUSUM e-detectors (Shin, Ramdas, Rinaldo, arXiv 2203.03532).

An e-value is a number that is on average at most 1 while nothing has changed. Either detector raised at a
threshold c has an average run length of at least c windows between false alarms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from tidemill.core.errors import InvalidArgument


def sr_path(e_values: Iterable[float]) -> list[float]:
    """SR_t = (SR_{t-1} + 1) e_t from 0.

    Example:
        >>> sr_path([2.0, 0.5, 4.0])
        [2.0, 1.5, 10.0]
    """
    path, value = [], 0.0
    for e in e_values:
        value = (value + 1) * e
        path.append(value)
    return path


def cusum_path(e_values: Iterable[float]) -> list[float]:
    """CUSUM_t = max(CUSUM_{t-1}, 1) e_t from 0.

    Example:
        >>> cusum_path([2.0, 0.25, 4.0])
        [2.0, 0.5, 4.0]
    """
    path, value = [], 0.0
    for e in e_values:
        value = max(value, 1.0) * e
        path.append(value)
    return path


def first_alarm(path: Sequence[float], threshold: float) -> int | None:
    """The first position that reaches the threshold, None if none does.

    Example:
        >>> first_alarm([2.0, 1.5, 10.0], 5.0)
        2
    """
    return next((position for position, value in enumerate(path) if value >= threshold), None)


def sr_step(log_sr: float | None, log_e: float) -> float:
    """One step of Shiryaev-Roberts in logarithms: log((SR + 1) e), where None is log 0.

    Example:
        >>> round(math.exp(sr_step(math.log(2.0), math.log(0.5))), 12)
        1.5
    """
    return log_e if log_sr is None else float(np.logaddexp(log_sr, 0.0)) + log_e


def log_mean(logs: Sequence[float | None]) -> float | None:
    """Log of the mean of values given by their logarithms, where None is log 0; None if all are zero.

    Example:
        >>> round(math.exp(log_mean([math.log(3.0), None])), 12)
        1.5
    """
    known = [value for value in logs if value is not None]
    return float(np.logaddexp.reduce(known)) - math.log(len(logs)) if known else None


def threshold_for(false_alarms: float, windows: float) -> float:
    """The threshold that keeps a budget: windows per period / false alarms allowed in it.

    Args:
        false_alarms: How many are allowed per period, on average.
        windows: Windows in that period.

    Raises:
        InvalidArgument: If one of them is not positive.

    Example:
        >>> threshold_for(false_alarms=1, windows=30)
        30.0
    """
    if false_alarms <= 0 or windows <= 0:
        raise InvalidArgument(
            f"A budget of {false_alarms} false alarms in {windows} windows cannot be kept",
            expected="two positive numbers",
            hint="Allow a small number such as 0.1 per month instead of none.",
        )
    return max(windows / false_alarms, 1.0)
