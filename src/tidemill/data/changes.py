"""Deliveries of change logs, brought into the one form their tables have: a row per image, its op `+` or `-` (R10)."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from tidemill.core.errors import InvalidData, unknown
from tidemill.core.specs.changes import ADDS, REMOVES, Changes
from tidemill.core.specs.sources import Source

UNKNOWN, NO_BEFORE, NO_AFTER = "unknown op", "no row before the change", "no row after the change"
"""What is wrong with a change that cannot be applied."""

_REMOVING, _ADDING = ("update", "delete", "before"), ("insert", "update", "after")
_KIND, _FAULT, _PLACE = "\0kind", "\0fault", "\0place"


class Images(NamedTuple):
    """A delivery as images."""

    rows: pl.DataFrame
    """An image per row; a change that cannot be applied is one row, as it came."""
    faults: dict[str, pl.Series]
    """What is wrong -> per row, whether it is."""


def images(source: Source, changes: Changes, frame: pl.DataFrame) -> Images:
    """The images of some changes.

    Args:
        source: Their source.
        changes: How its rows tell of changes.
        frame: The rows as they came, after `clean`.

    Raises:
        NotFound: A column the definition names is missing.
        InvalidData: The rows before and after are no structs, or hold a column that the change has as well.

    Example:
        >>> log = Source("ratings", time="at", changes=Changes(before="old", after="new"))
        >>> rows = pl.DataFrame({"op": ["c", "u"], "old": [None, {"x": 1}], "new": [{"x": 1}, {"x": 2}]})
        >>> images(log, log.changes, rows).rows.to_dicts()
        [{'op': '+', 'x': 1}, {'op': '-', 'x': 1}, {'op': '+', 'x': 2}]
    """
    for name in (changes.op, changes.before, changes.after):
        if name is not None and name not in frame.columns:
            raise unknown("column", name, frame.columns, hint=f"The definition of change log {source.name!r} names it")
    word = pl.col(changes.op).cast(pl.String).str.to_lowercase()
    kind = word.replace_strict(changes.kinds, default=None, return_dtype=pl.String)
    marked = frame.with_columns(kind.alias(_KIND)).with_row_index(_PLACE)
    marked = marked.with_columns(_fault(changes, marked).alias(_FAULT))
    marked = marked.with_columns(pl.col(_KIND).fill_null(""))
    rows = _apart(changes, marked) if changes.before is None else _unpacked(source, changes, marked)
    masks = {label: (rows[_FAULT] == label).fill_null(False) for label in (UNKNOWN, NO_BEFORE, NO_AFTER)}
    return Images(rows.drop(_KIND, _FAULT, _PLACE), {label: mask for label, mask in masks.items() if mask.any()})


def _fault(changes: Changes, marked: pl.DataFrame) -> pl.Expr:
    kind = pl.col(_KIND)
    lacks_before, lacks_after = kind == "update", pl.lit(False)  # of an update that is one row, only one image is there
    if changes.before is not None and changes.after is not None:
        lacks_before = kind.is_in(_REMOVING) & pl.col(changes.before).is_null()
        lacks_after = kind.is_in(_ADDING) & pl.col(changes.after).is_null()
    fault = pl.when(kind.is_null()).then(pl.lit(UNKNOWN)).when(lacks_before).then(pl.lit(NO_BEFORE))
    return fault.when(lacks_after).then(pl.lit(NO_AFTER)).otherwise(None)


def _apart(changes: Changes, marked: pl.DataFrame) -> pl.DataFrame:
    """Rows that are images already, with their op in the table's words."""
    op = pl.when(pl.col(_KIND).is_in(_ADDING)).then(pl.lit(ADDS)).otherwise(pl.lit(REMOVES))
    as_came = pl.col(changes.op).cast(pl.String)
    return marked.with_columns(pl.when(pl.col(_FAULT).is_null()).then(op).otherwise(as_came).alias(changes.op))


def _unpacked(source: Source, changes: Changes, marked: pl.DataFrame) -> pl.DataFrame:
    """The images out of their structs, that before a change ahead of that after it."""
    before, after = str(changes.before), str(changes.after)
    for name in (before, after):
        _check_struct(source, marked[name], [own for own in marked.columns if own not in (before, after)])
    sound, kind = pl.col(_FAULT).is_null(), pl.col(_KIND)
    there = pl.col(after).is_not_null()
    op = pl.col(changes.op).cast(pl.String)
    parts = [
        _opened(marked.filter(sound & kind.is_in(_REMOVING)), before, after, pl.lit(REMOVES).alias(changes.op)),
        _opened(marked.filter(sound & kind.is_in(_ADDING)), after, before, pl.lit(ADDS).alias(changes.op)),
        # What cannot be applied goes to quarantine with the image it has.
        _opened(marked.filter(~sound & there), after, before, op),
        _opened(marked.filter(~sound & ~there), before, after, op),
    ]
    return pl.concat(parts, how="diagonal_relaxed").sort(_PLACE, maintain_order=True)


def _check_struct(source: Source, column: pl.Series, own: list[str]) -> None:
    if column.dtype == pl.Null:
        return
    if not isinstance(column.dtype, pl.Struct):
        raise InvalidData(
            f"column {column.name!r} of change log {source.name!r} is {column.dtype}",
            expected="rows (structs), or null where there is none",
        )
    twice = [field.name for field in column.dtype.fields if field.name in own]
    if twice:
        raise InvalidData(
            f"the rows in column {column.name!r} of change log {source.name!r} hold {twice[0]!r}, and so do the changes",
            hint="Rename one of them in clean=",
        )


def _opened(rows: pl.DataFrame, column: str, other: str, op: pl.Expr) -> pl.DataFrame:
    rows = rows.drop(other).with_columns(op)
    return rows.drop(column) if rows.schema[column] == pl.Null else rows.unnest(column)
