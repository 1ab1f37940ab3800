"""Repeated ids: within a delivery, and against the rows that are already there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemill.core.specs.sources import SYSTEM_COLUMNS

REPEATED = "repeated id"
MISSING = "no id"


def missing(frame: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """Per row: does a part of its id lack?"""
    return frame.select(pl.any_horizontal(pl.col(list(columns)).is_null())).to_series()


def repeated(frame: pl.DataFrame, columns: Sequence[str], there: pl.LazyFrame | None) -> pl.Series:
    """Per row: did an earlier row of the frame, or a row already there, have its id?

    Args:
        frame: The rows.
        columns: The id columns.
        there: The id columns of the rows already there, of the same types.
    """
    keys = frame.select(columns)
    again = ~keys.select(pl.struct(pl.all()).is_first_distinct()).to_series()
    if there is None:
        return again
    numbered = keys.lazy().with_row_index("__row")
    old = numbered.join(there.select(columns), on=list(columns), how="semi").select("__row").collect().to_series()
    return again | _marked(frame.height, old)


def same(frame: pl.DataFrame, columns: Sequence[str], repeated: pl.Series, there: pl.LazyFrame | None) -> pl.Series:
    """Per row: is it repeated, with all the values of the first row that has its id?

    Args:
        frame: The rows.
        columns: The id columns.
        repeated: Of each row: did an earlier row of the frame, or one already there, have its id?
        there: The rows already there, of the same types.
    """
    asked = frame.filter(repeated)
    values = [name for name in frame.columns if name not in SYSTEM_COLUMNS]
    first = frame.filter(~repeated)
    if there is not None:
        old = there.join(asked.lazy().select(columns).unique(), on=list(columns), how="semi").collect()
        first = pl.concat([old, first], how="diagonal_relaxed")
    known = dict(zip(_texts(first, columns), _texts(first, values), strict=True))
    found = [known.get(key) == text for key, text in zip(_texts(asked, columns), _texts(asked, values), strict=True)]
    return _marked(frame.height, repeated.arg_true().filter(pl.Series(found, dtype=pl.Boolean)))


def _texts(frame: pl.DataFrame, columns: Sequence[str]) -> list[str]:
    # As texts NaN equals NaN, and nested values compare too. A column that a frame lacks is null.
    absent = [pl.lit(None).alias(name) for name in columns if name not in frame.columns]
    return [repr(row) for row in frame.with_columns(absent).select(columns).iter_rows()]


def _marked(height: int, rows: pl.Series) -> pl.Series:
    mask = np.zeros(height, bool)
    mask[rows.to_numpy()] = True
    return pl.Series(mask)


class SeenIds:
    """The ids of a source's rows, as far as needed to tell quickly that an id is new.

    Only 64-bit hashes are kept, 8 bytes a row: a hash not seen is surely a new id, one seen has to be looked up.

    Args:
        columns: The id columns.
    """

    _RECENT = 100_000

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self.offset = 0
        """How far pushed rows are known."""
        self._version: int | None = None
        self._last_seq = 0
        self._sorted: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._recent: set[int] = set()

    def follow(self, rows: pl.LazyFrame | None, version: int | None) -> None:
        """Learn the rows that came into the table since the last call. Their sequences only grow."""
        if rows is None or version == self._version:
            return
        new = rows.filter(pl.col("ingest_seq") > self._last_seq).select(*self.columns, "ingest_seq").collect()
        self.add(new)
        self._version = version

    def add(self, rows: pl.DataFrame) -> None:
        """Learn rows, which have `ingest_seq`."""
        if not rows.height:
            return
        last: int = rows["ingest_seq"].to_physical().max()  # type: ignore[assignment]
        self._last_seq = max(self._last_seq, last)
        hashes = self._hashes(rows)
        if len(hashes) > self._RECENT or len(self._recent) > self._RECENT:
            recent = np.fromiter(self._recent, np.uint64, len(self._recent))
            self._sorted = np.unique(np.concatenate([self._sorted, recent, hashes]))
            self._recent = set()
        else:
            self._recent.update(hashes.tolist())

    def maybe(self, rows: pl.DataFrame) -> bool:
        """Whether one of the rows may have a known id, or two of them the same."""
        hashes = self._hashes(rows)
        if len(set(hashes.tolist())) < len(hashes) or not self._recent.isdisjoint(hashes.tolist()):
            return True
        if not len(self._sorted):
            return False
        places = np.minimum(np.searchsorted(self._sorted, hashes), len(self._sorted) - 1)
        return bool((self._sorted[places] == hashes).any())

    def _hashes(self, rows: pl.DataFrame) -> NDArray[np.uint64]:
        return rows.select(pl.struct(self.columns).hash(seed=0)).to_series().to_numpy()
