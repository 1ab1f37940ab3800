"""The rows of one key as the online store gives them, and which of them count."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemill.features.encoding import FixedCodec, VariableCodec, column_of
from tidemill.stores.online.protocol import NEVER_KNOWN, Block


def columns_of(codec: FixedCodec | VariableCodec, block: Block, names: Iterable[str]) -> pl.DataFrame:
    """Some columns of a block's payloads, with their types.

    Args:
        codec: What the payloads hold.
        block: The rows.
        names: The columns.
    """
    places = {name: place for place, name in enumerate(codec.schema)}
    if isinstance(codec, FixedCodec):
        words = block.words[:, 3:]
        return pl.DataFrame([codec.series(words, places[n], codec.schema[n]).alias(n) for n in names])
    values = [codec.record(payload, 0) for payload in block.payloads]
    return pl.DataFrame([column_of([row[places[n]] for row in values], codec.schema[n], n) for n in names])


def visible(block: Block, t: int) -> Block:
    """The rows known by a moment."""
    known = block.words[:, 1]
    return chosen(block, (known <= t) & (known != NEVER_KNOWN))


def live(block: Block, codec: FixedCodec | VariableCodec, t: int) -> Block:
    """The rows of a change log that are live at a moment: added by then, and not removed (R10).

    The same rule as `tidemill.features.kernel.changes.lives`, for the few rows of one key.

    Args:
        block: All images, whole event times of them: a removal has the event time of the row it removes.
        codec: What the payloads hold.
        t: The moment, microseconds.
    """
    seen = visible(block, t)
    keep = _added(seen, codec)
    if keep.all():
        return seen
    added, rows = keep.tolist(), _rows(seen, codec)
    waiting: dict[Hashable, deque[int]] = {}
    for place in np.lexsort((seen.words[:, 2], seen.words[:, 1])).tolist():
        if added[place]:
            waiting.setdefault(rows[place], deque()).append(place)
        elif alike := waiting.get(rows[place]):
            keep[alike.popleft()] = False
    return chosen(seen, keep)


def _added(block: Block, codec: FixedCodec | VariableCodec) -> NDArray[np.bool_]:
    """Which images add a row; a change log's last column says so."""
    if isinstance(codec, FixedCodec):
        added: NDArray[np.bool_] = codec.values(block.words[:, 3:], len(codec.schema) - 1) != 0
        return added
    return np.array([codec.record(payload, 0)[-1] for payload in block.payloads], bool)


def _rows(block: Block, codec: FixedCodec | VariableCodec) -> Sequence[Hashable]:
    """The rows that images are of, so that equal ones compare equal: NaN is NaN, and there is one zero."""
    if isinstance(codec, VariableCodec):
        times = block.words[:, 0].tolist()
        return [(at, *map(_equal, codec.record(p, 0)[:-1])) for at, p in zip(times, block.payloads, strict=True)]
    words = np.delete(block.words[:, :-1], (1, 2), axis=1)
    for place, dtype in enumerate(list(codec.schema.values())[:-1]):
        if dtype.is_float():
            values = codec.values(words[:, 1:], place)
            values += 0.0
            values[np.isnan(values)] = np.nan
    return [row.tobytes() for row in words]


def _equal(value: Any) -> Hashable:
    if isinstance(value, list):
        return tuple(map(_equal, value))
    return "\0nan" if value != value else value  # only NaN is not itself


def chosen(block: Block, keep: NDArray[np.bool_]) -> Block:
    """Some rows of a block."""
    if keep.all():
        return block
    payloads = [block.payloads[i] for i in np.flatnonzero(keep).tolist()] if block.payloads else ()
    return Block(block.words[keep], payloads)
