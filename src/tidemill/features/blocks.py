"""The rows of one key as the online store gives them, and which of them count."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemill.features.encoding import FixedCodec, VariableCodec, column_of
from tidemill.features.kernel.changes import ADDED, alike, lives
from tidemill.features.kernel.timeline import AFTER_ALL
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

    Args:
        block: All images, whole event times of them: a removal has the event time of the row it removes.
        codec: What the payloads hold.
        t: The moment, microseconds.
    """
    seen = visible(block, t)
    if columns_of(codec, seen, [ADDED])[ADDED].all():
        return seen
    images = columns_of(codec, seen, codec.schema).with_columns(
        event_ts=pl.Series(seen.words[:, 0]),
        created_ts=pl.Series(seen.words[:, 1]),
        ingest_seq=pl.Series(seen.words[:, 2]),
    )
    found = lives(images.with_row_index("\0row"), alike(images.columns))
    keep = np.zeros(images.height, bool)
    keep[found.rows["\0row"].to_numpy()[found.until == AFTER_ALL]] = True
    return chosen(seen, keep)


def chosen(block: Block, keep: NDArray[np.bool_]) -> Block:
    """Some rows of a block."""
    if keep.all():
        return block
    payloads = [block.payloads[i] for i in np.flatnonzero(keep).tolist()] if block.payloads else ()
    return Block(block.words[keep], payloads)
