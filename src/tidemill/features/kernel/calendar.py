"""Where the periods of a calendar begin, as instants."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from tidemill.core.errors import InvalidData
from tidemill.core.specs.windows import SHIFTS, CalendarWindow, Unit
from tidemill.core.times import to_datetime, to_micros
from tidemill.features.kernel.timeline import Ints

YEARS = 16
"""How many years are worked out at once."""
_FIRST, _LAST = 2, 9997
_MONTHS = {"month": 1, "quarter": 3, "year": 12}


def period_starts(unit: Unit, tz: str, low: int, high: int) -> Ints:
    """The instants, microseconds, at which the periods begin that begin in a range, and some more on both sides.

    A period begins at the first instant at which the place's clocks show its first day or a later one. So when clocks skip
    midnight the day begins at the end of the gap, when midnight comes twice it begins at the first, and a day that the place
    left out is no period.

    Args:
        unit: The period.
        tz: The place.
        low: The first moment, microseconds; before the year 2 there are no periods.
        high: The last.
    """
    # Where it is not this year in UTC, it is within the two days by which clocks may differ.
    first, last = _block(low - SHIFTS), _block(high + SHIFTS)
    return _joined(unit, tz, first, last)


def calendar_times(window: CalendarWindow, t: Ints) -> tuple[Ints, Ints]:
    """The start and end of a calendar window at each moment.

    Raises:
        InvalidData: A moment is outside the years 3 to 9997, where calendars end.
    """
    if not len(t):
        return t, t
    low, high = int(t.min()), int(t.max())
    for moment in (low, high):
        if not _at(_FIRST + 1) <= moment < _at(_LAST + 1):
            raise InvalidData(f"a calendar window is asked for at {moment} microseconds",
                              expected=f"a time in the years {_FIRST + 1} to {_LAST}")  # fmt: skip
    starts = period_starts(window.unit, window.tz, low - window.reach, high)
    current = np.searchsorted(starts, t, side="right") - 1
    end = starts[current] if window.complete else t
    begun = current - (window.last if window.complete else window.last - 1)
    return starts[np.maximum(begun, 0)], end  # of more periods than there are: from the first on


def _at(year: int) -> int:
    return to_micros(datetime(year, 1, 1, tzinfo=UTC))


def _block(moment: int) -> int:
    return to_datetime(max(_at(_FIRST), min(moment, _at(_LAST + 1) - 1))).year // YEARS


@lru_cache(maxsize=32)
def _joined(unit: Unit, tz: str, first: int, last: int) -> Ints:
    found = np.unique(np.concatenate([_starts(unit, tz, block) for block in range(first, last + 1)]))
    found.flags.writeable = False
    return found


@lru_cache(maxsize=256)
def _starts(unit: Unit, tz: str, block: int) -> Ints:
    zone = ZoneInfo(tz)
    first, after = max(block * YEARS, _FIRST), min((block + 1) * YEARS, _LAST + 1)
    return np.array([_begin(day, zone) for day in _first_days(unit, first, after)], np.int64)


def _first_days(unit: Unit, first: int, after: int) -> list[date]:
    """The first days of the periods that begin in some years."""
    if unit in _MONTHS:
        months = range(1, 13, _MONTHS[unit])
        return [date(year, month, 1) for year in range(first, after) for month in months]
    day = date(first, 1, 1)
    step = 1
    if unit == "week":
        day, step = day + timedelta(days=-day.weekday() % 7), 7
    count = -((day - date(after, 1, 1)).days // step)
    return [day + timedelta(days=step * i) for i in range(count)]


def _begin(day: date, zone: ZoneInfo) -> int:
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    begin = midnight.astimezone(UTC)
    if begin.astimezone(zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return to_micros(begin)
    # Skipped: the clocks jumped over it somewhere between what both offsets make of it.
    low, high = to_micros(midnight.replace(fold=1).astimezone(UTC)), to_micros(begin)
    while low < high:
        middle = (low + high) // 2
        if to_datetime(middle).astimezone(zone).date() < day:
            low = middle + 1
        else:
            high = middle
    return low
