"""Window bounds (rules R4, R5 and R8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from tidemill.core.specs.aggregates import Aggregate
from tidemill.core.specs.windows import AnyWindow, CalendarWindow
from tidemill.features.kernel.calendar import calendar_times
from tidemill.features.kernel.timeline import BEFORE_ALL, Ints, Timeline, shifted

RATES = ("rate", "sum_rate")


class Bounds(NamedTuple):
    """Half-open ranges `[start, end)`, one per question: of times, or of positions in a timeline."""

    start: Ints
    end: Ints


def window_times(window: AnyWindow, t: Ints) -> Bounds:
    """The first moment of each window and the one after its last.

    Args:
        window: Size, kind, hop and offset.
        t: The moments asked for, microseconds.

    Example:
        >>> from tidemill.core.specs.windows import Window
        >>> hour = 3_600_000_000
        >>> bounds = window_times(Window(hour, "hopping", hop=hour), np.array([-1, 5 * hour // 2]))
        >>> bounds.start.tolist() == [-2 * hour, hour]
        True
    """
    if isinstance(window, CalendarWindow):
        return Bounds(*calendar_times(window, t))
    end = shifted(t, -window.offset)
    if window.mode in ("hopping", "tumbling"):
        end = _floor(end, window.hop)
    if window.size is None:
        return Bounds(np.full(len(t), BEFORE_ALL), end)
    start = shifted(end, -window.size)
    return Bounds(_floor(start, window.hop) if window.mode == "sawtooth" else start, end)


def window_rows(window: AnyWindow, timeline: Timeline, key: Ints, t: Ints, *, delay: int = 0) -> Bounds:
    """The positions of the rows in each window that are available at t (`event + delay <= t`)."""
    times = window_times(window, t)
    end = np.minimum(times.end, shifted(t, 1 - delay)) if delay else times.end
    start = timeline.before(key, times.start)
    return Bounds(start, np.maximum(start, timeline.before(key, end)))


class Moments(NamedTuple):
    """The times that operations which depend on them need."""

    event: Ints
    """The event time of each row."""
    length: Mapping[AnyWindow, Ints]
    """How long each question's window is, microseconds, for the windows of rates."""

    @classmethod
    def of(cls, aggregates: Iterable[Aggregate], event: Ints, t: Ints) -> Moments:
        """The times for some aggregates.

        Args:
            aggregates: The aggregates.
            event: The event time of each row.
            t: The moments asked for.
        """
        timed = {w for aggregate in aggregates if aggregate.operation in RATES for w in aggregate.windows}
        bounds = {window: window_times(window, t) for window in timed}
        return cls(event, {window: found.end - found.start for window, found in bounds.items()})

    def pick(self, questions: Ints, rows: Ints | None) -> Moments:
        """Those of some questions over some of the rows; None: all rows."""
        length = {window: lengths[questions] for window, lengths in self.length.items()}
        return Moments(self.event if rows is None else self.event[rows], length)


def _floor(t: Ints, hop: int) -> Ints:
    """The multiple of the hop at or before t; toward the past, also before 1970."""
    remainder = np.mod(t, np.int64(hop))
    floored: Ints = np.where(t < BEFORE_ALL + remainder, BEFORE_ALL, t - remainder)
    return floored
