"""One row of a view that takes columns of its source as they are, on the short way to the store.

What is done for a thousand rows at once in microseconds each costs many times as much for one row alone: no plan is made here,
and no array but the two that the store takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from tidemill.features.encoding import FixedCodec, encode_key
from tidemill.features.rows import ViewRows
from tidemill.stores.online.protocol import Entries

_KEYS = (pl.String, pl.Int8, pl.Int16, pl.Int32, pl.Int64)
_INPUTS = (pl.Boolean, pl.Float64, pl.Int8, pl.Int16, pl.Int32, pl.Int64)
_BLANKS = {pl.Boolean: False, pl.Float64: 0.0}
_TIME = pl.Datetime("us", "UTC")
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_STARTS = np.array([0, 1])


class SingleRow:
    """Makes an entry of one row.

    Args:
        keys: The key columns.
        inputs: The columns of the payload.
        schema: The types of the columns that are read.
        pack: Makes the payload.
    """

    def __init__(
        self, keys: Sequence[str], inputs: Sequence[str], schema: Mapping[str, pl.DataType], pack: Callable[..., bytes]
    ) -> None:
        self._keys, self._inputs, self._schema, self._pack = keys, inputs, schema, pack
        self._blanks = [_BLANKS.get(type(schema[name]), 0) for name in inputs]
        self._seen: tuple[list[str], list[pl.DataType]] | None = None

    @classmethod
    def of(cls, rows: ViewRows, codec: FixedCodec) -> SingleRow | None:
        """For a view over columns it takes as they are; None when one is of a type that needs more care."""
        keys = rows.key_types
        simple = all(dtype in _KEYS for dtype in keys.values())
        simple &= all(dtype in _INPUTS for dtype in codec.schema.values()) and codec.marks == 1
        if not simple or not rows.source["event_ts"] == _TIME == rows.source["created_ts"]:
            return None
        system = {"event_ts": _TIME, "created_ts": _TIME, "ingest_seq": rows.source["ingest_seq"]}
        return cls(list(keys), list(codec.schema), {**keys, **codec.schema, **system}, codec.pack)

    def entries(self, row: pl.DataFrame) -> Entries | None:
        """The entry of a row; None when its columns are of other types than the table's, or a key or time is null."""
        if not self._fits(row):
            return None
        values = row.row(0)
        event, created = values[self._event], values[self._created]
        keys = [values[place] for place in self._key_places]
        if event is None or created is None or None in keys:
            return None
        inputs = [values[place] for place in self._input_places]
        nulls = 0
        if None in inputs:
            for place, value in enumerate(inputs):
                if value is None:
                    inputs[place], nulls = self._blanks[place], nulls | 1 << place
        key = encode_key(keys)
        if key is None:
            return None
        event, created = (event - _EPOCH) // _MICROSECOND, (created - _EPOCH) // _MICROSECOND
        times = np.array([[event, created, values[self._sequence]]], np.int64)
        payload = np.frombuffer(self._pack(nulls, *inputs), np.uint8)
        return Entries([key], _STARTS, times, payload.reshape(1, -1))

    def _fits(self, row: pl.DataFrame) -> bool:
        """Whether a row's columns are of the types of the table; where they are is found once for rows that are alike."""
        names, types = row.columns, row.dtypes
        if (names, types) == self._seen:
            return True
        found = dict(zip(names, types, strict=True))
        if any(found.get(name) != dtype for name, dtype in self._schema.items()):
            return False
        self._event, self._created, self._sequence = map(names.index, ("event_ts", "created_ts", "ingest_seq"))
        self._key_places, self._input_places = list(map(names.index, self._keys)), list(map(names.index, self._inputs))
        self._seen = names, types
        return True
