"""Dividing rows into those to fit on and those to test on, disjoint by id: by time, or by a seeded draw."""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from tidemill.core.errors import InvalidArgument, InvalidData, unknown
from tidemill.core.times import Duration, format_duration, format_time, parse_duration
from tidemill.data.times import instants

WAYS = ("time", "random", "group", "stratified")
"""What `by=` of a split may be."""


class Split(NamedTuple):
    """Two disjoint sets of rows. A row in neither shares its id with a row of the other side."""

    fit: pl.Series
    """Per row, Boolean."""
    test: pl.Series
    """Per row, Boolean."""
    description: dict[str, Any]
    """How it was made, for the manifest."""


def split_by_time(times: pl.Series, *, test: Duration | float, ids: pl.Series | None = None) -> Split:
    """Take the newest rows as the test.

    Args:
        times: The time of each row, without nulls.
        test: How far the test reaches back from the newest row (`"28d"`), or its share of the rows (0.2). Rows of one
            time stay together, so a share is met as nearly as that allows, rounded up.
        ids: The id of each row; an id of the test is not fitted on.

    Raises:
        InvalidArgument: The share or duration is not sensible.
        InvalidData: A time is missing, or one side would be empty.

    Example:
        >>> at = pl.Series(["2024-01-01", "2024-01-02", "2024-01-03"])
        >>> split_by_time(at, test="1d").test.to_list()
        [False, True, True]
    """
    at = _micros(times)
    start = _start_of_share(at, _share(test)) if isinstance(test, float) else _largest(at) - parse_duration(test)
    late = at >= start
    description = {
        "by": "time", "test": test if isinstance(test, float) else format_duration(parse_duration(test)),
        "start": format_time(start),
    }  # fmt: skip
    return _disjoint(late, ids, description)


def split_random(
    rows: int, *, test: float, seed: int = 0, group: pl.Series | None = None, ids: pl.Series | None = None
) -> Split:
    """Draw the test rows at random; the same seed draws the same rows.

    Args:
        rows: How many rows there are.
        test: Share of the rows, or of the groups, to test on.
        seed: Of the draw.
        group: Rows of equal group stay on one side.
        ids: Rows of equal id stay on one side, when there is no group.

    Raises:
        InvalidArgument: The share is not between 0 and 1.
        InvalidData: One side would be empty.
    """
    unit = group if group is not None else ids
    if unit is None:
        unit = pl.int_range(rows, eager=True)
    units = unit.unique(maintain_order=True)
    count = round(len(units) * _share(test))
    drawn = units.sample(count, seed=seed, shuffle=False)
    late = unit.is_in(drawn.implode(), nulls_equal=True)
    description = {"by": "random", "test": test, "seed": seed, "group": None if group is None else group.name}
    return _disjoint(late, ids, description)


def split_groups(groups: pl.Series, *, test: float, seed: int = 0, ids: pl.Series | None = None) -> Split:
    """Draw whole groups until their rows are as near to the share as whole groups come; no group is on both sides.

    Args:
        groups: The group of each row. Rows without a group are one group.
        test: Share of the rows to test on.
        seed: Of the draw.
        ids: The id of each row; an id of the test is not fitted on, whatever its group.

    Raises:
        InvalidArgument: The share is not between 0 and 1.
        InvalidData: There are fewer than two groups.

    Example:
        >>> split = split_groups(pl.Series("plane", ["a", "a", "b", "b"]), test=0.5)
        >>> split.test.sum(), split.test[0] == split.test[1]
        (2, True)
    """
    share = _share(test)
    sizes = groups.alias("group").value_counts(sort=False).sort("group")
    if sizes.height < 2:
        raise InvalidData(
            f"column {groups.name!r} has {sizes.height} group", expected="at least two, one to fit and one to test on"
        )
    drawn = sizes.sample(fraction=1.0, shuffle=True, seed=seed)
    miss = (drawn["count"].cum_sum() - len(groups) * share).abs()
    taken = drawn["group"].head(min((miss.arg_min() or 0) + 1, drawn.height - 1))
    description = {
        "by": "group", "column": groups.name, "test": test, "seed": seed,
        "groups": drawn.height, "test_groups": len(taken),
    }  # fmt: skip
    return _disjoint(groups.is_in(taken.implode(), nulls_equal=True), ids, description)


def split_stratified(classes: pl.Series, *, test: float, seed: int = 0, ids: pl.Series | None = None) -> Split:
    """Draw rows of every class, so that its share of the test is within one row of its share of all rows.

    Args:
        classes: The class of each row. Rows without a class are one class.
        test: Share of the rows to test on.
        seed: Of the draw.
        ids: The id of each row; an id of the test is not fitted on.

    Raises:
        InvalidArgument: The share is not between 0 and 1.
        InvalidData: A class has one row, which cannot be on both sides.

    Example:
        >>> split = split_stratified(pl.Series("late", [True] * 5 + [False] * 15), test=0.2)
        >>> split.test.head(5).sum(), split.test.tail(15).sum()
        (1, 3)
    """
    share = _share(test)
    sizes = classes.alias("class").value_counts(sort=False).sort("class")
    _check_none_alone(sizes, classes.name)
    wanted = _nearest_whole(sizes["count"], share)
    order = pl.int_range(len(classes), eager=True).sample(fraction=1.0, shuffle=True, seed=seed)
    rank = pl.DataFrame({"class": classes, "order": order}).select(pl.col("order").rank("ordinal").over("class"))
    take = classes.replace_strict(sizes["class"], wanted, return_dtype=pl.Int64())
    description = {"by": "stratified", "column": classes.name, "test": test, "seed": seed, "classes": sizes.height}
    return _disjoint(rank.to_series() <= take, ids, description)


def _check_none_alone(sizes: pl.DataFrame, column: str) -> None:
    alone = sizes.filter(pl.col("count") == 1)["class"]
    if len(alone):
        shown = ", ".join(map(repr, alone.head(5))) + (", ..." if len(alone) > 5 else "")
        raise InvalidData(
            f"{len(alone)} of {sizes.height} classes of column {column!r} have one row: {shown}",
            expected="at least two rows of every class, one to fit and one to test on",
            hint="Drop or merge these classes, or split by random",
        )


def _nearest_whole(sizes: pl.Series, share: float) -> pl.Series:
    """How many rows of each class to take: exact or one of its two neighbours, together as near as may be."""
    exact = sizes * share
    whole = exact.floor().cast(pl.Int64)
    missing = round(float(exact.sum())) - int(whole.sum())
    largest = (exact - whole).rank("ordinal", descending=True) <= missing
    return (whole + largest).clip(1, sizes.cast(pl.Int64) - 1)  # both sides see every class


def split_rows(
    frame: pl.DataFrame, *, by: str = "time", test: Duration | float = 0.2, seed: int = 0, group: str | None = None,
    column: str | None = None, time: str | None = None, ids: tuple[str, ...] = (), label: str | None = None,
) -> Split:  # fmt: skip
    """Divide the rows of a frame as `tm.split` says.

    Args:
        frame: The rows.
        by: `time`, `random`, `group` or `stratified`.
        test: A duration (by time only), or a share between 0 and 1.
        seed: Of the draw.
        group: Column whose equal values stay on one side (random only).
        column: The groups (by group), or the classes (stratified).
        time: The time column.
        ids: The id columns.
        label: The label: the classes of a stratified split without `column`.

    Raises:
        InvalidArgument: The options do not go together.
        NotFound: A column does not exist.
    """
    for name in (group, column, time, *ids):
        if name is not None and name not in frame.columns:
            raise unknown("column", name, frame.columns)
    _check_options(by, group, column)
    keys = frame.select(pl.struct(ids)).to_series() if ids else None
    if by == "time":
        if time is None:
            raise InvalidArgument("these rows have no time to split by", hint='Pass by="random"')
        return split_by_time(frame[time], test=test, ids=keys)
    if not isinstance(test, float):
        raise InvalidArgument(f"test={test!r} of a split by {by}", expected="a share between 0 and 1")
    if by == "random":
        grouped = None if group is None else frame[group]
        return split_random(frame.height, test=test, seed=seed, group=grouped, ids=keys)
    if by == "group":
        return split_groups(_column(frame, by, column), test=test, seed=seed, ids=keys)
    return split_stratified(_column(frame, by, column or label), test=test, seed=seed, ids=keys)


def _check_options(by: str, group: str | None, column: str | None) -> None:
    if by not in WAYS:
        raise InvalidArgument(f"by={by!r} is no way to split", known=WAYS)
    if group is not None and by != "random":
        hint = "Pass column= instead" if by == "group" else 'Pass by="random", or by="group" and column='
        raise InvalidArgument(f"group={group!r} goes with a random split only", hint=hint)
    if column is not None and by not in ("group", "stratified"):
        raise InvalidArgument(f"column={column!r} goes with a split by group or a stratified one, not by {by}")


def _column(frame: pl.DataFrame, by: str, column: str | None) -> pl.Series:
    if column is None:
        meant = "whose rows stay together" if by == "group" else "with the classes: these rows have no label"
        raise InvalidArgument(f'by="{by}" needs the column {meant}', hint="Pass column=", known=frame.columns)
    return frame[column]


def _micros(times: pl.Series) -> pl.Series:
    at = times if times.dtype == pl.Int64() else instants(times).to_physical()
    if at.null_count():
        raise InvalidData(f"{at.null_count()} rows have no time to split by", hint='Drop them, or pass by="random"')
    return at


def _share(test: float) -> float:
    if not 0 < test < 1:
        raise InvalidArgument(f"test={test}", expected="a share between 0 and 1, or a duration such as '28d'")
    return test


def _start_of_share(at: pl.Series, share: float) -> int:
    place = min(max(len(at) - round(len(at) * share), 0), len(at) - 1)
    start: int = at.sort()[place]
    return start


def _largest(at: pl.Series) -> int:
    largest: Any = at.max()
    return int(largest)


def _disjoint(test: pl.Series, ids: pl.Series | None, description: dict[str, Any]) -> Split:
    fit = ~test
    if ids is not None:
        fit &= ~ids.is_in(ids.filter(test).unique().implode(), nulls_equal=False).fill_null(False)
    if not test.any() or not fit.any():
        side = "test" if not test.any() else "fit"
        raise InvalidData(f"no row is left to {side} on", expected="rows on both sides", hint="Change test=")
    counts = {"fit_rows": int(fit.sum()), "test_rows": int(test.sum()), "dropped": int((~fit & ~test).sum())}
    return Split(fit.alias("fit"), test.alias("test"), description | counts)
