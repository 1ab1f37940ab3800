"""How values are written on pages: one place for numbers, shares, sizes, durations and times."""

from __future__ import annotations

import math
import re
from typing import Any

from tidemill.core.times import to_datetime

SIGNIFICANT = 4
NOTHING = "–"
_DAY = 86_400_000_000

_SIZES = ("B", "kB", "MB", "GB", "TB")
_SPANS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def number(value: Any) -> str:
    """A number with four significant digits and its thousands separated; whole numbers are exact.

    Example:
        >>> number(1234567), number(0.0123456), number(None), number(12345.678)
        ('1,234,567', '0.01235', '–', '12,346')
    """
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "−∞"}.get(value, "not a number")
    return _significant(value)


def _significant(value: float) -> str:
    size = abs(value)
    if size != 0 and (size >= 1e9 or size < 1e-4):
        return f"{value:.3e}"
    whole_digits = len(str(int(size))) if size >= 1 else 0
    small = 0 if size >= 1 or size == 0 else -math.floor(math.log10(size)) - 1
    places = max(0, SIGNIFICANT - whole_digits + small)
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text and value == int(value) else text


def tick(value: float) -> str:
    """A number on an axis: as short as it can be.

    Example:
        >>> tick(0.25), tick(20.0), tick(0.0)
        ('0.25', '20', '0')
    """
    text = number(float(value))
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def share(value: float | None) -> str:
    """A share of one as a percentage.

    Example:
        >>> share(0.1234), share(None)
        ('12.3 %', '–')
    """
    return NOTHING if value is None else f"{value * 100:.1f} %".replace(".0 %", " %")


def size(value: int | None) -> str:
    """Bytes in the largest fitting unit.

    Example:
        >>> size(1536)
        '1.54 kB'
    """
    if value is None:
        return NOTHING
    left, unit = float(value), 0
    while left >= 1000 and unit < len(_SIZES) - 1:
        left, unit = left / 1000, unit + 1
    return f"{value} B" if unit == 0 else f"{left:.3g} {_SIZES[unit]}"


def duration(micros: int | float | None) -> str:
    """A length of time, short.

    Example:
        >>> duration(1_500), duration(90_000_000), duration(3_700_000_000)
        ('1.5 ms', '1 min 30 s', '1 h 1 min')
    """
    if micros is None:
        return NOTHING
    seconds = micros / 1e6
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    return _two_units(round(seconds))


def _two_units(seconds: int) -> str:
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    first = next(index for index, (_, length) in enumerate(units) if seconds >= length)
    name, length = units[first]
    text = f"{seconds // length} {name}"
    if first == len(units) - 1 or seconds % length < units[first + 1][1]:
        return text
    below, unit = units[first + 1]
    return f"{text} {seconds % length // unit} {below}"


def relative(micros: int, now: int) -> str:
    """A time against the platform's clock.

    Example:
        >>> relative(0, 7_200_000_000), relative(60_000_000, 0), relative(5, 5)
        ('2 hours ago', 'in 1 minute', 'now')
    """
    seconds = abs(now - micros) // 1_000_000
    for name, length in _SPANS:
        if seconds >= length:
            count = seconds // length
            text = f"{count:,} {name}{'' if count == 1 else 's'}"
            return f"{text} ago" if micros < now else f"in {text}"
    return "now"


def exact(micros: int) -> str:
    """The time in UTC, to the second.

    Example:
        >>> exact(0)
        '1970-01-01 00:00:00 UTC'
    """
    return to_datetime(micros).strftime("%Y-%m-%d %H:%M:%S UTC")


def day(micros: int) -> str:
    """The day; with the time where it is not midnight, because a window may be shorter than a day.

    Example:
        >>> day(0), day(3_600_000_000)
        ('1970-01-01', '1970-01-01 01:00')
    """
    return to_datetime(micros).strftime("%Y-%m-%d" if micros % _DAY == 0 else "%Y-%m-%d %H:%M")


_ID = re.compile(r"\b(?:[0-9a-f]{56}|[0-9a-f]{24})([0-9a-f]{8})\b")
_MOMENT = re.compile(r"\b(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(?::\d\d(?:\.\d+)?)?Z")


def brief(text: str) -> str:
    """A sentence with the ids and digests in it shortened, and its times as they are written elsewhere on the pages.

    Example:
        >>> brief("candidate of run 0192f0c1e5b87a9d8c1f2e3d4c5b6a79")
        'candidate of run 4c5b6a79'
        >>> brief("drifted since 2013-11-29T00:00:00Z, on rows since 2013-11-18T00:55:00Z")
        'drifted since 2013-11-29, on rows since 2013-11-18 00:55 UTC'
    """
    return _MOMENT.sub(_short_moment, _ID.sub(r"\1", text))


def _short_moment(found: re.Match[str]) -> str:
    date, time = found.groups()
    return date if found[0].endswith(("T00:00Z", "T00:00:00Z")) else f"{date} {time} UTC"


def short_id(value: str) -> str:
    """The end of an id: ids of one minute begin alike.

    Example:
        >>> short_id("0192f0c1e5b87a9d8c1f2e3d4c5b6a79")
        '4c5b6a79'
    """
    return value[-8:]


def count_of(count: int, noun: str) -> str:
    """A count with its noun.

    Example:
        >>> count_of(1, "run"), count_of(1200, "run")
        ('1 run', '1,200 runs')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
