"""State look-up where rows come batch by batch, in any order: none is kept but those that answer a question so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from tidemill.features.kernel.asof import gathered
from tidemill.features.kernel.timeline import AFTER_ALL, BEFORE_ALL, Ints, KeyIndex, Scale, shifted

HELD = 3
"""So many rows are kept for each slot before those that answer nothing any more are let go."""
LEAST_HELD = 100_000
"""Fewer rows than this are never let go."""


class Candidates(NamedTuple):
    """The greatest row of a batch for each slot that one falls into."""

    slot: Ints
    event: Ints
    known: Ints
    seq: Ints
    row: Ints
    """Its place in the batch."""


class Newest:
    """The row that holds for each of some questions (rules R1 to R3 and R12).

    The questions of one key divide its time: a row that becomes available after one moment asked for and not after the next
    falls into the slot of the latter, and of the rows in one slot only the greatest can ever hold. So the work takes room for
    the questions and a batch, however many rows there are, and rows are never sorted but within their batch.

    `candidates` does most of the work and changes nothing, so that threads can call it for several batches at once. `keep` and
    `answer` are for one thread.

    Args:
        questions: Rows with the keys asked for.
        asked: Their columns in the order of the view's keys.
        keys: The columns of the keys in the rows to come.
        t: The moments, microseconds.
        features: The columns wanted.
        ttl: How long a row holds, microseconds; 0 = for ever.
        delay: How long after its event a row becomes available.
        known: Whether a row counts only once it was known.
    """

    def __init__(
        self, questions: pl.DataFrame, asked: Sequence[str], keys: Sequence[str], t: Ints, features: Sequence[str], *,
        ttl: int = 0, delay: int = 0, known: bool = False,
    ) -> None:  # fmt: skip
        self._columns, self._features = list(keys), list(features)
        self._t, self._ttl, self._delay, self._as_known = t, ttl, delay, known
        self._keys = KeyIndex(questions, asked)
        key = self._keys.ids(questions, asked)
        self._scale = Scale(t, len(self._keys))
        self._slots, slot = np.unique(self._scale.code(key, t)[key >= 0], return_inverse=True)
        self._slot = np.full(len(t), -1, np.int64)
        self._slot[key >= 0] = slot
        self._key = np.empty(len(self._slots), np.int64)
        self._key[slot] = key[key >= 0]
        self._event, self._known, self._seq = (np.full(len(self._slots), BEFORE_ALL) for _ in range(3))
        self._place = np.full(len(self._slots), -1, np.int64)
        self._frames: list[pl.DataFrame] = []
        self.held = 0
        """How many rows are kept."""

    def candidates(self, rows: pl.DataFrame) -> Candidates:
        """Which rows of a batch may hold for a question: `event_ts` is never null, see `History` for the columns."""
        key = self._keys.ids(rows, self._columns)
        event, seq = (rows[name].cast(pl.Int64).to_numpy() for name in ("event_ts", "ingest_seq"))
        known = rows["created_ts"].cast(pl.Int64).fill_null(BEFORE_ALL).to_numpy()
        row, slot = self._slotted(key, self._available(event, known))
        top = np.flatnonzero(event[row] == _greatest(event[row], slot))
        row, slot = row[top], slot[top]
        if np.any(slot[1:] == slot[:-1]):
            order = np.lexsort((row, seq[row], known[row], slot))
            last = order[np.append(slot[1:] != slot[:-1], np.True_)]  # the order of the slots is the one they were in
            row, slot = row[last], slot[last]
        return Candidates(slot, event[row], known[row], seq[row], row)

    def _available(self, event: Ints, known: Ints) -> Ints:
        """From when each row counts."""
        available = shifted(event, self._delay)
        if not self._as_known:
            return available
        return np.maximum(available, np.where(known == BEFORE_ALL, AFTER_ALL, known))

    def _slotted(self, key: Ints, available: Ints) -> tuple[Ints, Ints]:
        """The rows that some question can see, in the order of their slots, and these."""
        code = self._scale.code(key, available)
        row = np.argsort(code)  # to search for many values in their order is several times faster, sorting included
        slot = np.searchsorted(self._slots, code[row]).astype(np.int64, copy=False)
        row = row[: np.searchsorted(slot, len(self._slots))]
        slot = slot[: len(row)]
        seen = np.flatnonzero(self._key[slot] == key[row])
        return row[seen], slot[seen]

    def keep(self, rows: pl.DataFrame, found: Candidates) -> None:
        """Take over the rows of a batch that are greater than what was there."""
        event, known, seq = self._event[found.slot], self._known[found.slot], self._seq[found.slot]
        later = (found.known > known) | ((found.known == known) & (found.seq >= seq))
        better = np.flatnonzero((found.event > event) | ((found.event == event) & later))
        slot = found.slot[better]
        self._event[slot], self._known[slot] = found.event[better], found.known[better]
        self._seq[slot] = found.seq[better]
        self._place[slot] = self.held + np.arange(len(slot))
        self._frames.append(rows.select(self._features)[found.row[better]])
        self.held += len(slot)
        if self.held > max(HELD * len(self._slots), LEAST_HELD):
            self._let_go()

    def _let_go(self) -> None:
        used = np.flatnonzero(self._place >= 0)
        self._frames = [self._rows()[self._place[used]]]
        self._place[used] = np.arange(len(used))
        self.held = len(used)

    def _rows(self) -> pl.DataFrame:
        return pl.concat(self._frames, how="vertical_relaxed")

    def answer(self, empty: pl.DataFrame) -> pl.DataFrame:
        """The features of the row that holds for each question, in their order; nulls where there is none.

        Args:
            empty: No rows, with the columns to answer with if none ever came.
        """
        holder = np.append(self._holders(), -1)[self._slot]
        found = holder >= 0
        if self._ttl and len(self._slots):
            found &= self._event[holder] >= shifted(self._t, -self._ttl)
        if not found.any():
            return (self._rows() if self._frames else empty.select(self._features)).clear(len(self._t))
        return gathered(self._rows(), np.where(found, self._place[holder], -1))

    def _holders(self) -> Ints:
        """For each slot the one, of those of its key up to it, with the greatest row; -1 where none has any."""
        filled = np.flatnonzero(self._place >= 0)
        if self._as_known:  # what was known later may have happened earlier
            by = (self._seq, self._known, self._event, self._key)
            filled = filled[np.lexsort([column[filled] for column in by])]
        rank = np.full(len(self._slots), -1, np.int64)
        rank[filled] = np.arange(len(filled))
        holder = np.append(filled, -1)[np.maximum.accumulate(rank)]
        return np.where((holder >= 0) & (self._key[holder] == self._key), holder, -1)


def _greatest(values: Ints, group: Ints) -> Ints:
    """For each value the greatest of its group; groups lie together."""
    if not len(values):
        return values
    starts = np.flatnonzero(np.append(np.True_, group[1:] != group[:-1]))
    return np.repeat(np.maximum.reduceat(values, starts), np.diff(np.append(starts, len(values))))
