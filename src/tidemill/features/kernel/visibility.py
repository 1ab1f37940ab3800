"""What was known at t (rules R3, R9, R10 and R11): each row counts from one moment until another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemill.features.kernel import ranges
from tidemill.features.kernel.timeline import AFTER_ALL, BEFORE_ALL, Ints, Timeline
from tidemill.features.kernel.windows import Bounds

PAIRS_AT_ONCE = 4_000_000


class Visibility(NamedTuple):
    """A sorted row counts for a question at t iff `since <= t < until`."""

    since: Ints
    until: Ints | None

    @classmethod
    def of_known(cls, timeline: Timeline, repeats: Ints | None = None, *, until: Ints | None = None) -> Visibility:
        """Rows count from when they were known; a repeated event until an earlier report of it is known.

        Args:
            timeline: The rows.
            repeats: For each sorted row the number of its event, or None when events do not repeat.
            until: For each sorted row when it was gone again, or None when rows stay.
        """
        since = np.where(timeline.known == BEFORE_ALL, AFTER_ALL, timeline.known)
        if repeats is None:
            return cls(since, until)
        earlier = pl.col("since").cum_min().shift(1).over("event")
        frame = pl.DataFrame({"event": repeats, "since": since})
        return cls(since, frame.select(earlier.fill_null(AFTER_ALL)).to_series().to_numpy())

    def settled(self, bounds: Bounds, t: Ints) -> NDArray[np.bool_]:
        """For which questions every row in the range counts."""
        some = bounds.start < bounds.end
        settled = np.less_equal(ranges.range_extremes(self.since, *bounds, largest=True), t)
        if self.until is not None:
            settled &= np.greater(ranges.range_extremes(self.until, *bounds, largest=False), t)
        return np.logical_or(settled, ~some)


class Batch(NamedTuple):
    """Some questions with their own copy of the rows that count for them."""

    questions: Ints
    rows: Ints | None
    """Positions of the rows, question by question; None: the rows as they are."""
    bounds: Bounds


def visible_batches(
    visibility: Visibility, bounds: Bounds, t: Ints, pairs_at_once: int = PAIRS_AT_ONCE
) -> Iterator[Batch]:
    """Divide questions into those whose rows all count, and batches whose rows are picked one by one.

    Args:
        visibility: When each row counts.
        bounds: The range of rows of each question.
        t: The moment of each question.
        pairs_at_once: About how many pairs of question and row are held at once.
    """
    settled = visibility.settled(bounds, t)
    plain = np.flatnonzero(settled)
    if len(plain):
        yield Batch(plain, None, Bounds(bounds.start[plain], bounds.end[plain]))
    rest = np.flatnonzero(~settled)
    lengths = (bounds.end - bounds.start)[rest]
    group = np.cumsum(lengths) // pairs_at_once
    for part in np.split(rest, np.flatnonzero(np.diff(group)) + 1) if len(rest) else ():
        yield _picked(visibility, part, bounds, t)


def _picked(visibility: Visibility, questions: Ints, bounds: Bounds, t: Ints) -> Batch:
    lengths = (bounds.end - bounds.start)[questions]
    first = np.cumsum(lengths) - lengths
    rows = np.arange(lengths.sum()) + np.repeat(bounds.start[questions] - first, lengths)
    moment = np.repeat(t[questions], lengths)
    counts = visibility.since[rows] <= moment
    if visibility.until is not None:
        counts &= moment < visibility.until[rows]
    passed = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
    return Batch(questions, rows[counts], Bounds(passed[first], passed[first + lengths]))
