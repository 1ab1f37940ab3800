"""Rules on rows: all checks in one pass, and for every row that fails all its reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from tidemill.core.errors import InvalidData, unknown
from tidemill.core.specs.checks import Check


@dataclass(frozen=True)
class Verdict:
    """Which rows passed, and why the others did not."""

    passed: pl.Series
    """Per row, Boolean."""
    reason: pl.Series
    """Per row, all reasons joined by "; "; empty where it passed."""
    counts: dict[str, int]
    """Failed rows by rule; rules that all rows passed are left out."""


def judge(
    frame: pl.DataFrame, checks: Sequence[Check], found: Sequence[tuple[str, pl.Series, pl.Series]] = ()
) -> Verdict:
    """Evaluate checks on rows.

    Args:
        frame: The rows.
        checks: The rules.
        found: What is already known to be wrong: label, mask of the failing rows, reason per row.

    Raises:
        NotFound: A check names a column there is not.
        InvalidData: A check does not suit the type of its column.

    Example:
        >>> from tidemill.core.specs.checks import check
        >>> judge(pl.DataFrame({"x": [1, 5]}), [check("x").between(0, 3)]).reason.to_list()
        ['', 'x.between(0, 3)']
    """
    masks = {label: mask for label, mask, _ in found}
    reasons = [
        pl.select(pl.when(mask).then(reason)).to_series().alias(str(n)) for n, (_, mask, reason) in enumerate(found)
    ]
    for column in _failing(frame, checks).iter_columns():
        masks[column.name] = column
        reasons.append(pl.select(pl.when(column).then(pl.lit(column.name)).alias(f"check {column.name}")).to_series())
    counts = {label: int(mask.sum()) for label, mask in masks.items() if mask.any()}
    return _verdict(frame.height, list(masks.values()), reasons, counts)


def _verdict(height: int, masks: list[pl.Series], reasons: list[pl.Series], counts: dict[str, int]) -> Verdict:
    if not counts:
        return Verdict(_repeated(True, height), _repeated("", height), {})
    passed = pl.DataFrame([mask.alias(str(n)) for n, mask in enumerate(masks)]).select(~pl.any_horizontal(pl.all()))
    reason = pl.DataFrame(reasons).select(pl.concat_str(pl.all(), separator="; ", ignore_nulls=True))
    return Verdict(passed.to_series(), reason.to_series(), counts)


def _repeated(value: bool | str, height: int) -> pl.Series:
    return pl.Series([value]).new_from_index(0, height)


def _failing(frame: pl.DataFrame, checks: Sequence[Check]) -> pl.DataFrame:
    """One Boolean column per check, by label: does the row fail it?"""
    for check in checks:
        for column in (check.column, *(check.arguments if check.rule == "not_after" else ())):
            if column not in frame.columns:
                raise unknown("column", column, frame.columns, hint=f"It is named by the check {check.label}")
    rules = {check.label: failing(check, frame.schema[check.column]).fill_null(False) for check in checks}
    try:
        return frame.select(**rules) if rules else pl.DataFrame()
    except pl.exceptions.PolarsError as error:
        raise _unsuitable(frame, rules, error) from None


def _unsuitable(frame: pl.DataFrame, rules: dict[str, pl.Expr], error: Exception) -> InvalidData:
    for label, rule in rules.items():
        try:
            frame.head(1).select(rule)
        except pl.exceptions.PolarsError as cause:
            return InvalidData(f"the check {label} does not suit its column: {str(cause).splitlines()[0]}",
                               hint="Change the check, or the column's type in clean=")  # fmt: skip
    return InvalidData(f"the checks cannot be evaluated: {error}")


def failing(check: Check, dtype: pl.DataType) -> pl.Expr:
    """An expression that is true for rows that fail a check; null or false for those that pass."""
    column = pl.col(check.column)
    match check.rule, check.arguments:
        case "between", (low, high):
            outside = ~column.is_between(low, high)
            return outside | column.is_nan() if dtype.is_float() else outside
        case "not_null", _:
            return column.is_null()
        case "one_of", values:
            return ~column.is_in(list(values))
        case "matches", (pattern,):
            return ~column.str.contains(pattern)
        case "unique", _:
            return ~column.is_first_distinct() & column.is_not_null()
        case "not_after", (other,):
            return column > pl.col(other)
    raise InvalidData(f"there is no rule {check.rule!r}")
