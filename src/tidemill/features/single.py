"""One row of a view that takes columns of its source as they are, on the short way to the store.

What is done for a thousand rows at once in microseconds each costs many times as much for one row alone: no plan is made here,
and no array but the two that the store takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from tidemill.features.encoding import FixedCodec, encode_key
from tidemill.features.rows import ViewRows
from tidemill.stores.online.protocol import Entries

_KEYS = (pl.String, pl.Int8, pl.Int16, pl.Int32, pl.Int64)
_INPUTS = (pl.Boolean, pl.Float64, pl.Int8, pl.Int16, pl.Int32, pl.Int64)
_PYTHON = {pl.Boolean: bool, pl.Float64: float}
_TIME = pl.Datetime("us", "UTC")
_STARTS = np.array([0, 1])


class SingleRow:
    """Makes an entry of one row.

    Args:
        keys: The key columns.
        inputs: The columns of the payload, with the Python type of their values.
        codec: Of the payload.
    """

    def __init__(self, keys: tuple[str, ...], inputs: Sequence[tuple[str, type]], codec: FixedCodec) -> None:
        self._keys, self._inputs, self._pack = keys, inputs, codec.pack

    @classmethod
    def of(cls, rows: ViewRows, codec: FixedCodec) -> SingleRow | None:
        """For a view over columns it takes as they are; None when one is of a type that needs more care."""
        simple = all(dtype in _KEYS for dtype in rows.key_types.values())
        simple &= all(dtype in _INPUTS for dtype in codec.schema.values())
        simple &= rows.source["event_ts"] == _TIME == rows.source["created_ts"] and codec.marks == 1
        if not simple:
            return None
        inputs = [(name, _PYTHON.get(type(dtype), int)) for name, dtype in codec.schema.items()]
        return cls(rows.view.key_columns, inputs, codec)

    def entries(self, row: pl.DataFrame) -> Entries | None:
        """The entry of a row; None when one of its values is not as usual."""
        keys = [row.get_column(name).item() for name in self._keys]
        values = [row.get_column(name).item() for name, _ in self._inputs]
        event, created = _time(row.get_column("event_ts")), _time(row.get_column("created_ts"))
        if event is None or created is None or None in keys:
            return None
        nulls = 0
        for place, (_, kind) in enumerate(self._inputs):
            if type(values[place]) is not kind:
                if values[place] is not None:
                    return None
                values[place], nulls = kind(), nulls | 1 << place
        key = encode_key(keys)
        if key is None:
            return None
        times = np.array([[event, created, row.get_column("ingest_seq").item()]], np.int64)
        payload = np.frombuffer(self._pack(nulls, *values), np.uint8)
        return Entries([key], _STARTS, times, payload.reshape(1, -1))


def _time(column: pl.Series) -> int | None:
    # The type of the column is that of the source's unless somebody passed other rows; comparing it costs little here.
    if column.dtype != _TIME:
        return None
    found: Any = column.cast(pl.Int64).item()
    return None if found is None else int(found)
