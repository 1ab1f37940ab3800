"""Dividing rows into those to fit on and those to test on: disjoint by id, by time or by a seeded draw."""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from tidemill.core.errors import InvalidArgument, InvalidData, unknown
from tidemill.core.times import Duration, format_duration, format_time, parse_duration
from tidemill.data.times import instants


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


def split_rows(
    frame: pl.DataFrame, *, by: str = "time", test: Duration | float = 0.2, seed: int = 0, group: str | None = None,
    time: str | None = None, ids: tuple[str, ...] = (),
) -> Split:  # fmt: skip
    """Divide the rows of a frame as `tm.split` says.

    Args:
        frame: The rows.
        by: `time` or `random`.
        test: A duration (by time only), or a share between 0 and 1.
        seed: Of the random draw.
        group: Column whose equal values stay on one side (random only).
        time: The time column.
        ids: The id columns.

    Raises:
        InvalidArgument: The options do not go together.
        NotFound: A column does not exist.
    """
    for column in (group, time, *ids):
        if column is not None and column not in frame.columns:
            raise unknown("column", column, frame.columns)
    keys = frame.select(pl.struct(ids)).to_series() if ids else None
    if by == "time":
        if group is not None:
            raise InvalidArgument(f"group={group!r} goes with a random split only", hint='Pass by="random"')
        if time is None:
            raise InvalidArgument("these rows have no time to split by", hint='Pass by="random"')
        return split_by_time(frame[time], test=test, ids=keys)
    if by == "random":
        if not isinstance(test, float):
            raise InvalidArgument(f"test={test!r} of a random split", expected="a share between 0 and 1")
        grouped = None if group is None else frame[group]
        return split_random(frame.height, test=test, seed=seed, group=grouped, ids=keys)
    raise InvalidArgument(f"by={by!r} is no way to split", known=["time", "random"])


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
