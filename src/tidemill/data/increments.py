"""Where reading a database goes on: told by the archives of what arrived before, so that it can never disagree with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tidemill.core.records.data import Arrival
from tidemill.stores.artifacts.protocol import ArtifactStore


@dataclass(frozen=True)
class Mark:
    """How far a source was read.

    Args:
        value: The largest value of the column.
        rows: The rows with this value that were taken in already. Others may get the same value later.
    """

    value: Any
    rows: pl.DataFrame

    def new(self, frame: pl.DataFrame, column: str, ids: Sequence[str]) -> pl.DataFrame:
        """The rows of a frame that were not taken in already.

        Args:
            frame: Rows at or after the mark.
            column: The column the mark is of.
            ids: The columns that tell rows apart; all that both have, when there are none.
        """
        names = list(ids) or [name for name in frame.columns if name in self.rows.columns]
        known = set(map(repr, self.rows.select(names).rows()))
        at_mark = (frame[column] == self.value).to_list()
        rows = frame.select(names).rows()
        fresh = [not (there and repr(row) in known) for there, row in zip(at_mark, rows, strict=True)]
        return frame.filter(pl.Series(fresh, dtype=pl.Boolean))


def mark_of(arrivals: Sequence[Arrival], column: str, artifacts: ArtifactStore) -> Mark | None:
    """How far deliveries reached; None when there were none.

    Args:
        arrivals: The deliveries of one origin, oldest first.
        column: The column that reading goes on by.
        artifacts: Where they are archived.
    """
    value, parts = None, []
    for arrival in reversed(arrivals):
        if arrival.archive is None:
            continue
        rows = pl.read_parquet(artifacts.local_path(arrival.archive))
        largest = rows[column].max()
        value = largest if value is None else value
        if largest != value:
            break
        parts.append(rows.filter(pl.col(column) == value))
    return None if value is None else Mark(value, pl.concat(parts, how="diagonal_relaxed"))
