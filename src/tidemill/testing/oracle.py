"""What features should be, said in the plainest way: loops over rows, one question at a time. Slow, for tests.

Every rule of the point-in-time contract is one condition here. Nothing of the real kernel is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = 1_000_000


class Row(NamedTuple):
    """One row of a source. Times are microseconds; `seq` is its order of arrival."""

    key: tuple[Any, ...]
    event: int | None
    known: int | None
    seq: int
    value: Any = None
    event_id: Any = None


def order(row: Row) -> tuple[int, bool, int, int]:
    """Event time, then known time with null before every value, then order of arrival."""
    return (row.event or 0, row.known is not None, row.known or 0, row.seq)


def same_key(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Equal column by column, with equal types; null is equal to nothing."""
    return len(a) == len(b) and all(
        x is not None and y is not None and type(x) is type(y) and x == y for x, y in zip(a, b, strict=True)
    )


def candidates(rows: Sequence[Row], key: tuple[Any, ...], t: int, *, delay: int, known: bool) -> list[Row]:
    """The rows of a key that are available at t, oldest first."""
    return sorted((row for row in rows if same_key(row.key, key) and _available(row, t, delay, known)), key=order)


def _available(row: Row, t: int, delay: int, known: bool) -> bool:
    if row.event is None or row.event + delay > t:
        return False
    return not known or (row.known is not None and row.known <= t)


def state(
    rows: Sequence[Row], key: tuple[Any, ...], t: int, *, ttl: int = 0, delay: int = 0, known: bool = False
) -> Row | None:  # fmt: skip
    """The row that holds at t (R2, R3)."""
    alive = [
        row for row in candidates(rows, key, t, delay=delay, known=known)
        if not ttl or (row.event is not None and row.event >= t - ttl)
    ]  # fmt: skip
    return alive[-1] if alive else None


def window(
    t: int, size: int | None, *, mode: str = "exact", hop: int = 0, offset: int = 0
) -> tuple[float, int]:  # fmt: skip
    """First moment of a window and the one after its last (R4, R5, R8)."""
    end = t - offset
    if mode == "tumbling" and size is not None:
        end = end // size * size
    if mode == "hopping":
        end = end // hop * hop
    start: float = -math.inf if size is None else end - size
    if mode == "sawtooth" and size is not None:
        start = (end - size) // hop * hop
    return start, end


class Periods(NamedTuple):
    """A window of calendar periods."""

    unit: str
    tz: str
    last: int = 1
    complete: bool = False


def calendar_window(t: int, periods: Periods) -> tuple[int, int]:
    """First moment of a calendar window and the one after its last (R8)."""
    today = (_EPOCH + timedelta(microseconds=t)).date()
    days = {"day": 1, "week": 7, "month": 31, "quarter": 92, "year": 366}[periods.unit] * (periods.last + 2)
    nearby = [today + timedelta(days=offset) for offset in range(-days, 3)]
    starts = sorted({begin_of(day, periods.tz) for day in nearby if begins_period(day, periods.unit)})
    begun = [start for start in starts if start <= t]
    if periods.complete:
        return begun[-1 - periods.last], begun[-1]
    return begun[-periods.last], t


def begins_period(day: date, unit: str) -> bool:
    """Whether a day is the first of a week, month, quarter or year."""
    if unit == "week":
        return day.weekday() == 0
    if unit == "day":
        return True
    return day.day == 1 and day.month in {"month": range(1, 13), "quarter": (1, 4, 7, 10), "year": (1,)}[unit]


@cache
def begin_of(day: date, tz: str) -> int:
    """The first instant at which clocks show this day or a later one: looked for minute by minute, then second by second."""
    zone = ZoneInfo(tz)
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=27)
    while moment.astimezone(zone).date() < day:
        moment += timedelta(minutes=1)
    while (moment - timedelta(seconds=1)).astimezone(zone).date() >= day:
        moment -= timedelta(seconds=1)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def aggregate(
    rows: Sequence[Row], key: tuple[Any, ...], t: int, operation: str, *, size: int | None, mode: str = "exact",
    hop: int = 0, offset: int = 0, k: int = 0, delay: int = 0, known: bool = False, once: bool = False,
    periods: Periods | None = None, arguments: Sequence[float] = (),
) -> Any:  # fmt: skip
    """One aggregate over one window (R4 to R7, R9, R11): of a size, or of calendar periods.

    `approx_quantile` and `approx_unique_count` are what they approximate.
    """
    found = candidates(rows, key, t, delay=delay, known=known)
    if once:
        found = _once(found)
    start, end = window(t, size, mode=mode, hop=hop, offset=offset) if periods is None else calendar_window(t, periods)
    inside = [row for row in found if row.event is not None and start <= row.event < end and row.value is not None]
    values = [row.value for row in inside]
    if operation in ("rate", "sum_rate"):
        return _rate(len(values) if operation == "rate" else combine("sum", values), end - start, arguments[0])
    if operation == "ewma":
        return _ewma([row.event or 0 for row in inside], values, end, arguments[0])
    return combine(operation, values, k, arguments)


def _rate(total: float | None, length: float, per: float) -> float | None:
    return None if total is None or length <= 0 else float(total) / (length / per)


def _ewma(events: list[int], values: list[Any], end: int, half_life: float) -> float | None:
    if not values:
        return None
    if not all(math.isfinite(value) for value in values):
        return _sum_of_special(values)
    weights = [2.0 ** -((end - event) / half_life) for event in events]
    weighted = math.fsum(weight * value for weight, value in zip(weights, values, strict=True))
    return weighted / math.fsum(weights)


def live(images: Sequence[tuple[Row, bool]], t: int) -> list[Row]:
    """The rows of a change log that are live at t (R10): added by then, and not taken away again.

    Args:
        images: Rows with whether each was added (true) or one live row like it was taken away, the oldest of several.
        t: The moment.
    """
    rows: list[Row] = []
    known = [(row, added) for row, added in images if row.known is not None and row.known <= t]
    for row, added in sorted(known, key=lambda image: (image[0].known or 0, image[0].seq)):
        if added:
            rows.append(row)
            continue
        like = [other for other in rows if _alike(other, row)]
        if like:
            rows.remove(like[0])
    return rows


def _alike(a: Row, b: Row) -> bool:
    both_nan = _is_nan(a.value) and _is_nan(b.value)
    return same_key(a.key, b.key) and a.event == b.event and (both_nan or a.value == b.value)


def _once(rows: list[Row]) -> list[Row]:
    kept: list[Row] = []
    for row in rows:
        if row.event_id is None or all(row.event_id != other.event_id for other in kept):
            kept.append(row)
    return kept


def combine(operation: str, values: list[Any], k: int = 0, arguments: Sequence[float] = ()) -> Any:
    """An operation on values, none of them null, oldest first (R6)."""
    if operation == "count":
        return len(values)
    if operation in ("unique_count", "approx_unique_count"):
        return len({"nan" if _is_nan(value) else ("", value) for value in values})
    if operation == "first_k":
        return values[:k]
    if operation == "last_k":
        return values[::-1][:k]
    if not values:
        return None
    if operation in ("first", "last"):
        return values[0] if operation == "first" else values[-1]
    if operation == "mode":
        return _most_frequent(values)
    if operation in ("median", "approx_quantile"):
        return _of_rank(operation, values, arguments)
    if operation in ("min", "max"):
        extreme = min(values) if operation == "min" else max(values)
        return math.nan if any(_is_nan(value) for value in values) else extreme
    return _arithmetic(operation, values)


def _most_frequent(values: list[Any]) -> Any:
    names = ["nan" if _is_nan(value) else value for value in values]
    best = max(names.count(name) for name in names)
    return [value for value, name in zip(values, names, strict=True) if names.count(name) == best][-1]


def _of_rank(operation: str, values: list[Any], arguments: Sequence[float]) -> float:
    if any(map(_is_nan, values)):
        return math.nan
    ordered, last = sorted(float(value) for value in values), len(values) - 1
    if operation == "approx_quantile":
        return ordered[math.floor(Fraction(str(arguments[0])) * last)]
    return (ordered[last // 2] + ordered[(last + 1) // 2]) / 2


def _arithmetic(operation: str, values: list[Any]) -> Any:
    if not all(math.isfinite(value) for value in values):
        return _sum_of_special(values) if operation in ("sum", "mean") else _spread_of_special(operation, values)
    exact = [Fraction(value) for value in values]
    n, total = len(exact), sum(exact, Fraction(0))
    if operation == "sum":
        return float(total) if isinstance(values[0], float) else int(total)
    if operation == "mean":
        return float(total / n)
    squares = sum(((value - total / n) ** 2 for value in exact), Fraction(0))
    divisor = n - 1 if operation.endswith("samp") else n
    if divisor == 0:
        return None
    return math.sqrt(squares / divisor) if operation.startswith("stddev") else float(squares / divisor)


def _sum_of_special(values: list[Any]) -> float:
    signs = {value for value in values if not math.isfinite(value)}
    return next(iter(signs)) if len(signs) == 1 and not any(map(_is_nan, values)) else math.nan


def _spread_of_special(operation: str, values: list[Any]) -> float | None:
    return None if len(values) == 1 and operation.endswith("samp") else math.nan


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
