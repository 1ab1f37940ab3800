"""One row of a view that takes columns of its source as they are, on the short way to the store.

What is done for a thousand rows at once in microseconds each costs many times as much for one row alone: no plan is made here,
and no array.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from types import NoneType
from typing import Any

import polars as pl

from tidemill.features.encoding import FixedCodec, key_encoder
from tidemill.features.memo import Kind, Memo
from tidemill.features.rows import ViewRows
from tidemill.stores.online.protocol import TIMES, Entry

_KEYS: dict[type[pl.DataType], type] = {pl.String: str, **dict.fromkeys((pl.Int8, pl.Int16, pl.Int32, pl.Int64), int)}
_INPUTS: dict[type[pl.DataType], tuple[type, ...]] = {
    pl.Boolean: (bool,), pl.Float64: (float, int), **dict.fromkeys((pl.Int8, pl.Int16, pl.Int32, pl.Int64), (int,)),
}  # fmt: skip
_SYSTEM = ("event_ts", "created_ts", "ingest_seq")
_TIME = pl.Datetime("us", "UTC")
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


class SingleRow:
    """Makes entries of single rows.

    Args:
        keys: The key columns with their types.
        inputs: The columns of the payload with their types, all of which are marked in one word when null.
        sequence: The type of ingest sequences.
    """

    def __init__(
        self, keys: Mapping[str, pl.DataType], inputs: Mapping[str, pl.DataType], sequence: pl.DataType
    ) -> None:
        self._keys, self._inputs = keys, inputs
        self._schema = {**keys, **inputs, "event_ts": _TIME, "created_ts": _TIME, "ingest_seq": sequence}
        codes = "".join("d" if dtype.is_float() else "q" for dtype in inputs.values())
        self._pack = struct.Struct(f"{TIMES.format}q{codes}").pack
        self._makers: Memo[Kind, EntryMaker | None] = Memo()
        self._seen: tuple[list[str], list[pl.DataType]] | None = None

    @classmethod
    def of(cls, rows: ViewRows, codec: FixedCodec) -> SingleRow | None:
        """For a view over columns it takes as they are; None when one is of a type that needs more care."""
        keys, source = rows.key_types, rows.source
        simple = all(type(dtype) in _KEYS for dtype in keys.values())
        simple &= all(type(dtype) in _INPUTS for dtype in codec.schema.values()) and codec.marks == 1
        if not simple or not source["event_ts"] == _TIME == source["created_ts"]:
            return None
        return cls(keys, codec.schema, source["ingest_seq"])

    def entry(self, row: pl.DataFrame) -> Entry | None:
        """The entry of a row; None when its columns are of other types than the table's, or a key or time is null."""
        names, types = row.columns, row.dtypes
        if (names, types) != self._seen:
            found = dict(zip(names, types, strict=True))
            if any(found.get(name) != dtype for name, dtype in self._schema.items()):
                return None
            self._seen = names, types
        values = row.row(0)
        make = self.maker((tuple(names), tuple(map(type, values))))
        return None if make is None else make(values)

    def maker(self, kind: Kind) -> EntryMaker | None:
        """How entries are made of the values of rows of a kind; None when these need more care."""
        if kind not in self._makers:
            self._makers[kind] = self._maker(*kind)
        return self._makers[kind]

    def _maker(self, names: tuple[str, ...], types: tuple[type, ...]) -> EntryMaker | None:
        found = dict(zip(names, types, strict=True))
        if [found.get(name) for name in _SYSTEM] != [datetime, datetime, int]:
            return None
        if any(found.get(name) is not _KEYS[type(dtype)] for name, dtype in self._keys.items()):
            return None
        nulls = 0
        for place, (name, dtype) in enumerate(self._inputs.items()):
            if found.get(name) is NoneType:
                nulls |= 1 << place
            elif found.get(name) not in _INPUTS[type(dtype)]:
                return None
        return EntryMaker(
            names, list(self._keys), list(self._inputs), nulls, [found[key] for key in self._keys], self._pack
        )


class EntryMaker:
    """Makes entries of the values of some columns, of types that were looked at.

    Args:
        names: The columns.
        keys: Those of the key.
        inputs: Those of the payload.
        nulls: Marks the inputs that are null.
        kinds: The types of the keys' values.
        pack: Makes the record of the times, the marks and the inputs.
    """

    def __init__(
        self, names: Sequence[str], keys: Sequence[str], inputs: Sequence[str], nulls: int, kinds: Sequence[type],
        pack: Callable[..., bytes],
    ) -> None:  # fmt: skip
        self._keys = _values_of(names, keys)
        self._system = _values_of(names, _SYSTEM)
        self._inputs = _values_of(names, inputs)
        self._nulls, self._pack, self._encode = nulls, pack, key_encoder(kinds)

    def __call__(self, values: Sequence[Any]) -> Entry | None:
        """The entry; None when a value has no place in a word, or a time no zone."""
        event, created, sequence = self._system(values)
        inputs = self._inputs(values)
        if self._nulls:
            inputs = [0 if value is None else value for value in inputs]
        try:
            times = (event - _EPOCH) // _MICROSECOND, (created - _EPOCH) // _MICROSECOND, sequence
            return Entry(self._encode(self._keys(values)), self._pack(*times, self._nulls, *inputs))
        except (struct.error, TypeError):
            return None


def _values_of(names: Sequence[str], wanted: Sequence[str]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """Picks the values of some columns."""
    places = [names.index(name) for name in wanted]
    if len(places) == 1:
        (place,) = places
        return itemgetter(slice(place, place + 1))
    return itemgetter(*places)
