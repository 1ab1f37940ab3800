"""State look-up: the latest row of a key at a moment (rules R1 to R3, R10 and R12)."""

from __future__ import annotations

import numpy as np
import polars as pl

from tidemill.features.kernel.ranges import rightmost_at_most
from tidemill.features.kernel.timeline import AFTER_ALL, BEFORE_ALL, Ints, Timeline, shifted
from tidemill.features.kernel.visibility import Visibility, visible_batches
from tidemill.features.kernel.windows import Bounds


def asof_rows(
    timeline: Timeline, key: Ints, t: Ints, *, ttl: int = 0, delay: int = 0, known: bool = False,
    seen: Ints | None = None,
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
        seen: By when it must have been known, where that is not the moment asked for.

    Returns:
        For each question the index of a row as given to `Timeline.build`, or -1.
    """
    stop = timeline.before(key, shifted(t, 1 - delay))
    start = timeline.starts(key)
    if known:
        since = np.where(timeline.known == BEFORE_ALL, AFTER_ALL, timeline.known)
        position = rightmost_at_most(since, start, stop, t if seen is None else seen)
    else:
        position = np.where(stop > start, stop - 1, -1)
    if len(timeline) == 0:
        return position
    found = position >= 0
    if ttl:
        found &= timeline.event[position] >= shifted(t, -ttl)
    rows: Ints = np.where(found, timeline.order[position], -1)
    return rows


def asof_live(timeline: Timeline, visibility: Visibility, key: Ints, t: Ints, *, ttl: int = 0, delay: int = 0) -> Ints:
    """Which row holds at each moment, where rows of a change log come and go; see `asof_rows`.

    Args:
        timeline: The rows.
        visibility: From when until when each counts.
        key: Number of the key of each question; -1 has no rows.
        t: The moments, microseconds.
        ttl: How long a row holds, microseconds; 0 = for ever.
        delay: How long after its event a row becomes available.
    """
    start = timeline.before(key, shifted(t, -ttl)) if ttl else timeline.starts(key)
    bounds = Bounds(start, np.maximum(start, timeline.before(key, shifted(t, 1 - delay))))
    found = np.full(len(t), -1, np.int64)
    for batch in visible_batches(visibility, bounds, t) if len(timeline) else ():
        some = batch.bounds.end > batch.bounds.start
        last = (batch.bounds.end - 1)[some]
        found[batch.questions[some]] = timeline.order[last if batch.rows is None else batch.rows[last]]
    return found


def gathered(rows: pl.DataFrame, found: Ints) -> pl.DataFrame:
    """Rows by index; all null where it is -1."""
    if (found >= 0).all():
        return rows[found]
    nulls = rows.clear(1)
    return pl.concat([rows, nulls])[np.where(found >= 0, found, rows.height)]
