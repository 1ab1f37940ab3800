"""Window bounds (rules R4, R5 and R8)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tidemill.core.specs.aggregates import Window
from tidemill.features.kernel.timeline import BEFORE_ALL, Ints, Timeline, shifted


class Bounds(NamedTuple):
    """Half-open ranges `[start, end)`, one per question: of times, or of positions in a timeline."""

    start: Ints
    end: Ints


def window_times(window: Window, t: Ints) -> Bounds:
    """The first moment of each window and the one after its last.

    Args:
        window: Size, kind, hop and offset.
        t: The moments asked for, microseconds.

    Example:
        >>> hour = 3_600_000_000
        >>> bounds = window_times(Window(hour, "hopping", hop=hour), np.array([-1, 5 * hour // 2]))
        >>> bounds.start.tolist() == [-2 * hour, hour]
        True
    """
    end = shifted(t, -window.offset)
    if window.mode == "hopping":
        end = _floor(end, window.hop)
    if window.size is None:
        return Bounds(np.full(len(t), BEFORE_ALL), end)
    start = shifted(end, -window.size)
    return Bounds(_floor(start, window.hop) if window.mode == "sawtooth" else start, end)


def window_rows(window: Window, timeline: Timeline, key: Ints, t: Ints, *, delay: int = 0) -> Bounds:
    """The positions of the rows in each window that are available at t (`event + delay <= t`)."""
    times = window_times(window, t)
    end = np.minimum(times.end, shifted(t, 1 - delay)) if delay else times.end
    start = timeline.before(key, times.start)
    return Bounds(start, np.maximum(start, timeline.before(key, end)))


def _floor(t: Ints, hop: int) -> Ints:
    """The multiple of the hop at or before t; toward the past, also before 1970."""
    remainder = np.mod(t, np.int64(hop))
    floored: Ints = np.where(t < BEFORE_ALL + remainder, BEFORE_ALL, t - remainder)
    return floored
