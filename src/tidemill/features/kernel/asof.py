"""State look-up: the latest row of a key at a moment (rules R1 to R3 and R12)."""

from __future__ import annotations

import numpy as np

from tidemill.features.kernel.ranges import rightmost_at_most
from tidemill.features.kernel.timeline import AFTER_ALL, BEFORE_ALL, Ints, Timeline, shifted


def asof_rows(
    timeline: Timeline, key: Ints, t: Ints, *, ttl: int = 0, delay: int = 0, known: bool = False
) -> Ints:  # fmt: skip
    """Which row holds at each moment.

    A row is a candidate if its key is equal, `event + delay <= t`, with a ttl also `event >= t - ttl`, and with `known`
    also `known <= t` (null = never known). The greatest (event, known, sequence) wins; null known sorts first.

    Args:
        timeline: The rows.
        key: Number of the key of each question; -1 has no rows.
        t: The moments, microseconds.
        ttl: How long a row holds, microseconds; 0 = for ever.
        delay: How long after its event a row becomes available.
        known: Whether a row counts only once it was known.

    Returns:
        For each question the index of a row as given to `Timeline.build`, or -1.
    """
    stop = timeline.before(key, shifted(t, 1 - delay))
    start = timeline.starts(key)
    if known:
        seen = np.where(timeline.known == BEFORE_ALL, AFTER_ALL, timeline.known)
        position = rightmost_at_most(seen, start, stop, t)
    else:
        position = np.where(stop > start, stop - 1, -1)
    if len(timeline) == 0:
        return position
    found = position >= 0
    if ttl:
        found &= timeline.event[position] >= shifted(t, -ttl)
    rows: Ints = np.where(found, timeline.order[position], -1)
    return rows
