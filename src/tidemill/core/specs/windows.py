"""Windows before a moment: of absolute length, or of whole periods of a calendar.

Both are half-open, `[start, end)`: an event at the moment asked for never counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args
from zoneinfo import ZoneInfo

from tidemill.core.errors import InvalidArgument
from tidemill.core.times import format_duration

MODES = ("exact", "sawtooth", "hopping", "tumbling")
Unit: TypeAlias = Literal["day", "week", "month", "quarter", "year"]

_DAY = 24 * 3_600_000_000
_LONGEST = {"day": _DAY, "week": 7 * _DAY, "month": 31 * _DAY, "quarter": 92 * _DAY, "year": 366 * _DAY}
SHIFTS = 2 * _DAY
"""More than any change of a clock, days skipped at the date line included."""


@dataclass(frozen=True)
class Window:
    """One window, in microseconds. `size` None means everything before the end; tumbling windows hop by their size."""

    size: int | None
    mode: str = "exact"
    hop: int = 0
    offset: int = 0

    def __post_init__(self) -> None:
        if self.mode == "tumbling":
            object.__setattr__(self, "hop", self.size)

    @property
    def label(self) -> str:
        """How the window reads in a feature name: `24h`, `lifetime`, `24h_sawtooth_1h`, `24h_tumbling`, `24h_offset_7d`."""
        text = "lifetime" if self.size is None else _hours(self.size)
        if self.mode == "tumbling":
            text += "_tumbling"
        elif self.mode != "exact":
            text += f"_{self.mode}_{_hours(self.hop)}"
        return text + (f"_offset_{_hours(self.offset)}" if self.offset else "")

    @property
    def reach(self) -> int | None:
        """At most how far before the moment asked for it begins; None for all of the past."""
        return None if self.size is None else self.size + self.offset + 2 * self.hop

    def describe(self) -> list[Any]:
        """What makes it differ from other windows, as plain JSON."""
        return [self.size, self.mode, self.hop, self.offset]


def _hours(micros: int) -> str:
    # "24h" is what the user wrote and what the column is called, although it is also "1d".
    hour = 3_600_000_000
    return f"{micros // hour}h" if micros % hour == 0 and micros < 7 * 24 * hour else format_duration(micros)


@dataclass(frozen=True)
class CalendarWindow:
    """Periods of a calendar; see `calendar`."""

    unit: Unit
    tz: str
    last: int = 1
    complete: bool = False

    @property
    def label(self) -> str:
        """How the window reads in a feature name: `calendar_day`, `calendar_month_last_3_complete`."""
        return f"calendar_{self.unit}" + (f"_last_{self.last}" if self.last > 1 else "") + (
            "_complete" if self.complete else ""
        )  # fmt: skip

    @property
    def reach(self) -> int:
        """At most how far before the moment asked for it begins."""
        return (self.last + 1) * _LONGEST[self.unit] + SHIFTS

    def describe(self) -> list[Any]:
        """What makes it differ from other windows, as plain JSON."""
        return ["calendar", self.unit, self.tz, self.last, self.complete]


AnyWindow: TypeAlias = Window | CalendarWindow


def calendar(unit: Unit, tz: str, last: int = 1, *, complete: bool = False) -> CalendarWindow:
    """A window of calendar periods, as clocks and calendars of a place have them: `over=tm.calendar("month", "Europe/Berlin")`.

    A period begins when the place's calendar first shows its first day and ends when the next one begins, so a day may have
    23 or 25 hours; a duration such as `over="1d"` is always 24. Weeks begin on Monday.

    Args:
        unit: The period.
        tz: The place, as the IANA time zone database names it.
        last: How many periods.
        complete: Only whole periods: the last ones that were over at the moment asked for. Otherwise the current period up
            to that moment, and the `last - 1` before it.

    Raises:
        InvalidArgument: There is no such unit or time zone, or no period.

    Example:
        >>> calendar("day", "Europe/Berlin").label, calendar("month", "UTC", 3, complete=True).label
        ('calendar_day', 'calendar_month_last_3_complete')
    """
    if unit not in get_args(Unit):
        raise InvalidArgument(f"{unit!r} is no period of a calendar", known=get_args(Unit))
    try:
        ZoneInfo(tz)
    except (KeyError, ValueError, OSError, TypeError):
        raise InvalidArgument(f"{tz!r} is not a time zone", expected='an IANA name such as "Europe/Berlin"') from None
    if type(last) is not int or last < 1:
        raise InvalidArgument(f"last = {last!r} holds no period", expected="last of at least 1")
    return CalendarWindow(unit, tz, last, complete)
