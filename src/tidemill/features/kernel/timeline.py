"""Rows of many keys in one order, and where a moment falls in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]

BEFORE_ALL = np.iinfo(np.int64).min
"""A time before every other; as a known time it means null, which sorts before every value."""
AFTER_ALL = np.iinfo(np.int64).max


class KeyIndex:
    """Numbers the distinct keys of some rows. Keys are tuples compared column by column; a null is equal to nothing.

    Args:
        rows: The rows.
        columns: Their key columns.

    Example:
        >>> index = KeyIndex(pl.DataFrame({"a": [1, 11, 1], "b": [11, 1, 11]}), ["a", "b"])
        >>> index.ids(pl.DataFrame({"x": [11, 1, None], "y": [1, 11, 1]}), ["x", "y"]).tolist() == [1, 0, -1]
        True
    """

    def __init__(self, rows: pl.DataFrame, columns: Sequence[str]) -> None:
        self._columns = list(columns)
        distinct = _comparable(rows.select(self._columns)).unique(maintain_order=True).drop_nulls()
        self._numbered = distinct.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("\0id"))

    def __len__(self) -> int:
        return self._numbered.height

    def ids(self, rows: pl.DataFrame, columns: Sequence[str] | None = None) -> Ints:
        """The number of each row's key; -1 where it is null or none of the index."""
        if not len(self):
            return np.full(rows.height, -1, np.int64)
        left = rows.select(list(columns or self._columns))
        left.columns = self._columns
        left = _comparable(left)
        if left.schema != self._numbered.schema:  # a column of nulls only has a type of its own
            left = left.cast(
                {name: self._numbered.schema[name] for name, dtype in left.schema.items() if dtype == pl.Null}
            )
        found = left.join(self._numbered, on=self._columns, how="left", maintain_order="left")
        return found["\0id"].fill_null(-1).to_numpy()


def _comparable(keys: pl.DataFrame) -> pl.DataFrame:
    """Keys in one type per kind, so that widths and encodings do not matter."""
    changed = {}
    for name, dtype in keys.schema.items():
        if dtype.is_integer() and dtype != pl.Int64:
            changed[name] = pl.col(name).cast(pl.Int64, strict=False)
        elif dtype in (pl.Categorical, pl.Enum):
            changed[name] = pl.col(name).cast(pl.String)
        elif dtype == pl.Datetime:
            changed[name] = pl.col(name).dt.cast_time_unit("us").cast(pl.Int64)  # naive means UTC
    return keys.with_columns(**changed) if changed else keys


@dataclass(frozen=True)
class Timeline:
    """Rows sorted by (key, event time, known time, sequence); a key's rows lie together.

    `order[i]` is the place of sorted row `i` among the rows given.
    """

    order: Ints
    key: Ints
    event: Ints
    known: Ints
    _code: Ints
    _scale: Scale

    @classmethod
    def build(cls, key: Ints, event: Ints, known: Ints, seq: Ints) -> Timeline:
        """Sort rows.

        Args:
            key: Numbers of the keys; rows with a negative one are left out.
            event: Event times.
            known: Times the rows became known; `BEFORE_ALL` for null.
            seq: Order of arrival.
        """
        scale = Scale(event, int(key.max(initial=-1)) + 1)
        code = scale.code(key, event)
        order = _in_order(code, known, seq)[int((key < 0).sum()) :]
        return cls(order, key[order], event[order], known[order], code[order], scale)

    def __len__(self) -> int:
        return len(self.order)

    def before(self, key: Ints, t: Ints) -> Ints:
        """The position after the last row of a key with an event time before t.

        That is where the key's rows at or after t begin; for an unknown key some position, the same for every t.
        """
        return searched(self._code, self._scale.code(key, t))

    def starts(self, key: Ints) -> Ints:
        """The position of the first row of a key."""
        return self.before(key, np.full(len(key), BEFORE_ALL))

    def keep(self, mask: NDArray[np.bool_]) -> Timeline:
        """The timeline of some of the rows."""
        return Timeline(
            self.order[mask], self.key[mask], self.event[mask], self.known[mask], self._code[mask], self._scale
        )


class Scale:
    """Maps (key, time) to one integer that sorts like the pair and tells apart some times; others fall between or beyond those.

    Args:
        times: The times to tell apart.
        keys: How many keys there are; they are numbers from 0.
    """

    def __init__(self, times: Ints, keys: int) -> None:
        low, high = (int(times.min()), int(times.max())) if len(times) else (0, 0)
        self._ranks: Ints | None = None
        self._low = low
        self._span = high - low + 2
        if max(keys, 1) * self._span >= 2**62:  # many keys over centuries: count distinct times instead
            self._ranks = np.unique(times)
            self._span = len(self._ranks) + 1

    def code(self, key: Ints, t: Ints) -> Ints:
        """The integers of some keys and times; -1 for a negative key."""
        if self._ranks is not None:
            place = np.searchsorted(self._ranks, t, side="left").astype(np.int64, copy=False)
        else:
            place = np.clip(t, self._low, self._low + self._span - 1) - self._low
        code: Ints = np.where(key < 0, -1, key * self._span + place)
        return code


def _in_order(code: Ints, known: Ints, seq: Ints) -> Ints:
    """The order of rows by code, known time and sequence, and of equal ones as they came."""
    order: Ints = np.argsort(code)
    same = code[order][1:] == code[order][:-1]
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    if len(tied):  # most codes are no other row's, and one column is sorted several times faster than three
        rows = order[tied]
        frame = pl.DataFrame({"code": code[rows], "known": known[rows], "seq": seq[rows], "row": rows})
        order[tied] = rows[frame.select(pl.arg_sort_by("code", "known", "seq", "row")).to_series().to_numpy()]
    return order


def searched(among: Ints, values: Ints) -> Ints:
    """For each value the first place in a sorted array that is not less."""
    order = np.argsort(
        values
    )  # what is near in the array is looked up together: several times faster, sorting included
    places = np.empty(len(values), np.int64)
    places[order] = np.searchsorted(among, values[order], side="left")
    return places


def shifted(t: Ints, by: int) -> Ints:
    """Times moved by a duration, stopping at the ends of the representable range."""
    if by == 0:
        return t
    if by > 0:
        return (
            np.where(t > AFTER_ALL - by, AFTER_ALL, t + np.int64(by)) if by <= AFTER_ALL else np.full_like(t, AFTER_ALL)
        )
    return (
        np.where(t < BEFORE_ALL - by, BEFORE_ALL, t + np.int64(by)) if by >= BEFORE_ALL else np.full_like(t, BEFORE_ALL)
    )
