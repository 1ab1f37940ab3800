"""Change logs (rule R10): when each added row went again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from tidemill.features.kernel.timeline import AFTER_ALL, Ints

ADDED = "\0added"
"""Boolean column of a change log's rows: the row became live (true), or one live row like it went (false)."""


class Lives(NamedTuple):
    """The rows of a change log that ever were live."""

    rows: pl.DataFrame
    """The added rows, in the order given."""
    until: Ints
    """When the removal of each was known, microseconds; `AFTER_ALL` for rows that were not removed."""
    unmatched: int
    """How many removals found no live row to remove, and have no effect."""


def alike(columns: Sequence[str]) -> list[str]:
    """The columns in which a row and its removal agree: all but those that tell when and how it came."""
    return [name for name in columns if name not in (ADDED, "created_ts", "ingest_seq")]


def lives(images: pl.DataFrame, like: Sequence[str]) -> Lives:
    """Match every removal with the row it removes.

    Changes apply in the order of (known time, sequence). A removal takes the oldest live row that agrees with it in all of
    some columns. As what is known at some moment is a beginning of that order, one matching answers for every moment.

    Args:
        images: The rows, with `ADDED`, `created_ts` and `ingest_seq`; those never known (null) are left out.
        like: The columns in which a removed row and its removal agree; null agrees with null.

    Example:
        >>> times = {"created_ts": [1, 2, 2], "ingest_seq": [1, 2, 3]}
        >>> log = pl.DataFrame({"v": [4, 4, 2], ADDED: [True, False, True], **times})
        >>> found = lives(log, ["v"])
        >>> found.rows["v"].to_list(), found.until.tolist() == [2, AFTER_ALL]
        ([4, 2], True)
    """
    known = images.filter(pl.col("created_ts").is_not_null())
    if known[ADDED].all():
        return Lives(known, pl.repeat(AFTER_ALL, known.height, dtype=pl.Int64, eager=True).to_numpy(), 0)
    numbered = _numbered(known, like)
    added, removed = numbered.filter(pl.col(ADDED)), numbered.filter(~pl.col(ADDED))
    effective = removed.filter(pl.col("\0number") >= 0)
    gone = effective.select("\0alike", "\0number", pl.col("\0known").alias("\0until"))
    found = added.join(gone, on=["\0alike", "\0number"], how="left").sort("\0place")
    until = found["\0until"].fill_null(AFTER_ALL).to_numpy()
    return Lives(known.filter(pl.col(ADDED)), until, removed.height - effective.height)


def _numbered(known: pl.DataFrame, like: Sequence[str]) -> pl.DataFrame:
    """Rows with the number of their group of alike rows, and in it the number of the addition that each is or takes back."""
    alike = pl.struct(pl.col(list(like))).rank("dense").alias("\0alike")
    when, place = pl.col("created_ts").cast(pl.Int64).alias("\0known"), pl.int_range(pl.len()).alias("\0place")
    steps = known.select(alike, ADDED, when, "ingest_seq", place)
    steps = steps.sort("\0alike", "\0known", "ingest_seq", "\0place")
    # A walk that goes up with every addition and down with every removal; where it reaches a new low below zero, nothing was
    # live, and the removal has no effect.
    walk = pl.when(ADDED).then(1).otherwise(-1).cum_sum()
    low = pl.min_horizontal(walk.cum_min(), 0)
    idle = ~pl.col(ADDED) & (low < low.shift(1, fill_value=0))
    nth = pl.when(ADDED).then(pl.col(ADDED).cum_sum()).otherwise((~pl.col(ADDED) & ~idle).cum_sum())
    number = pl.when(idle).then(-1).otherwise(nth.cast(pl.Int64)).over("\0alike").alias("\0number")
    return steps.with_columns(number)
