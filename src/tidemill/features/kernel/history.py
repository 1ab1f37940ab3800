"""A view's rows, ready for questions: what the offline path asks, on an engine's batch or the whole table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from tidemill.core.specs.aggregates import Aggregate
from tidemill.core.specs.windows import AnyWindow
from tidemill.features.kernel.aggregates import evaluate
from tidemill.features.kernel.asof import asof_live, asof_rows, gathered
from tidemill.features.kernel.changes import ADDED, alike, lives
from tidemill.features.kernel.timeline import BEFORE_ALL, Ints, KeyIndex, Timeline
from tidemill.features.kernel.visibility import Visibility, visible_batches
from tidemill.features.kernel.windows import Bounds, Moments, window_rows


class History:
    """All rows a view may answer from, of whole keys.

    Args:
        rows: The rows: key columns, feature columns, `event_ts`, `created_ts` (Datetime in microseconds), `ingest_seq`.
            Rows with a null key or event time are left out. A change log's rows have `ADDED` as well (R10).
        keys: The key columns.
        delay: How long after its event a row becomes available, microseconds.
        known: Whether a row counts only once its created time has passed (R3).
        event_id: Columns that name an event; rows of one key that repeat an event count once (R11).
    """

    def __init__(
        self, rows: pl.DataFrame, keys: Sequence[str], *, delay: int = 0, known: bool = False,
        event_id: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.rows = rows.filter(pl.col("event_ts").is_not_null())
        self.unmatched = 0
        """Removals of a change log that found no row to remove."""
        until: Ints | None = None
        if ADDED in self.rows.columns:
            self.rows, until, self.unmatched = lives(self.rows, alike(self.rows.columns))
        self.keys = KeyIndex(self.rows, keys)
        self.delay = delay
        self.known = known
        key = self.keys.ids(self.rows)
        seen = self.rows["created_ts"].cast(pl.Int64).fill_null(BEFORE_ALL).to_numpy()
        event = self.rows["event_ts"].cast(pl.Int64).to_numpy()
        self.timeline = Timeline.build(key, event, seen, self.rows["ingest_seq"].cast(pl.Int64).to_numpy())
        self._changes = until is not None
        self._visibility = (
            self._dedup(event_id)
            if until is None
            else Visibility.of_known(self.timeline, until=until[self.timeline.order])
        )

    def _dedup(self, event_id: Sequence[str]) -> Visibility | None:
        if not event_id:
            return Visibility.of_known(self.timeline) if self.known else None
        repeats = self._repeats(event_id)
        if self.known:
            return Visibility.of_known(self.timeline, repeats)
        self.timeline = self.timeline.keep(pl.Series(repeats).is_first_distinct().to_numpy())
        return None

    def _repeats(self, event_id: Sequence[str]) -> Ints:
        """A number for each sorted row, equal for rows of one key and event id; a row without id has its own."""
        named = self.rows.select(event_id)[self.timeline.order].with_columns(pl.Series("\0key", self.timeline.key))
        number = KeyIndex(named, named.columns).ids(named)
        return np.where(number >= 0, number, -1 - np.arange(len(number)))

    def latest(
        self, questions: pl.DataFrame, keys: Sequence[str], t: Ints, features: Sequence[str], ttl: int,
        seen: Ints | None = None,
    ) -> pl.DataFrame:  # fmt: skip
        """The features of the row that holds for each question (R2); nulls where there is none.

        Args:
            questions: Rows with the keys asked for.
            keys: Their columns in the order of the view's keys.
            t: The moments, microseconds.
            features: The columns wanted.
            ttl: How long a row holds, microseconds; 0 = for ever.
            seen: By when rows must have been known, where that is asked for and is not the moment itself.
        """
        ids = self.keys.ids(questions, keys)
        if self._changes and self._visibility is not None:
            live = asof_live(self.timeline, self._visibility, ids, t, ttl=ttl, delay=self.delay)
            return gathered(self.rows.select(features), live)
        found = asof_rows(self.timeline, ids, t, ttl=ttl, delay=self.delay, known=self.known, seen=seen)
        return gathered(self.rows.select(features), found)

    def windowed(
        self, questions: pl.DataFrame, keys: Sequence[str], t: Ints, aggregates: Sequence[Aggregate],
        seen: Ints | None = None,
    ) -> pl.DataFrame:  # fmt: skip
        """The aggregates over each question's windows (R4 to R7), one column per feature; `seen` as in `latest`."""
        ids = self.keys.ids(questions, keys)
        inputs = list(dict.fromkeys(aggregate.input for aggregate in aggregates))
        columns = {name: self.rows[name].gather(self.timeline.order) for name in inputs}
        windows = list(dict.fromkeys(window for aggregate in aggregates for window in aggregate.windows))
        bounds = {w: window_rows(w, self.timeline, ids, t, delay=self.delay) for w in windows}
        moments = Moments.of(aggregates, self.timeline.event, t)
        if self._visibility is None:
            return pl.DataFrame(evaluate(aggregates, columns, bounds, moments))
        by = t if seen is None else seen
        return _windowed_as_known(aggregates, columns, bounds, moments, self._visibility, by)


def _windowed_as_known(
    aggregates: Sequence[Aggregate], columns: Mapping[str, pl.Series], bounds: Mapping[AnyWindow, Bounds],
    moments: Moments, visibility: Visibility, t: Ints,
) -> pl.DataFrame:  # fmt: skip
    found: dict[str, pl.Series] = {}
    for window, ranges in bounds.items():
        parts: list[pl.DataFrame] = []
        places: list[Ints] = []
        for batch in visible_batches(visibility, ranges, t):
            used = columns if batch.rows is None else {n: c.gather(batch.rows) for n, c in columns.items()}
            times = moments.pick(batch.questions, batch.rows)
            parts.append(pl.DataFrame(evaluate(aggregates, used, {window: batch.bounds}, times)))
            places.append(batch.questions)
        if parts:
            back = np.argsort(np.concatenate(places))
            found |= pl.concat(parts)[back].to_dict()
        else:
            found |= evaluate(aggregates, columns, {window: ranges}, moments)
    return pl.DataFrame([found[name] for aggregate in aggregates for name, _ in aggregate.features()])
