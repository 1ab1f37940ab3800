"""From values to places on a drawing, and the round numbers of an axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

Scale = Callable[[float], float]


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """Maps [low, high] on [start, end]; an empty interval goes to the middle.

    Example:
        >>> linear(0, 10, 100, 0)(2.5)
        75.0
    """
    if high == low:
        return lambda _: (start + end) / 2
    return lambda value: start + (value - low) / (high - low) * (end - start)


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers within [low, high], about `count` of them.

    Example:
        >>> ticks(0, 1)
        [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    if not math.isfinite(low) or not math.isfinite(high) or high <= low:
        return [low] if math.isfinite(low) else []
    step = _round_step((high - low) / count)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))


def extent(values: Iterable[float | None], *, include: Sequence[float] = (), pad: float = 0.08) -> tuple[float, float]:
    """Least and greatest of the values that are there, with some room; (0, 1) without any.

    Example:
        >>> extent([1.0, None, 2.0], pad=0)
        (1.0, 2.0)
    """
    found = [value for value in (*values, *include) if value is not None and math.isfinite(value)]
    if not found:
        return 0.0, 1.0
    low, high = min(found), max(found)
    room = (high - low) * pad or abs(high) * pad or 1.0
    return low - (room if pad else 0), high + (room if pad else 0)
