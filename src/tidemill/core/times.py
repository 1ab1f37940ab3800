"""Times and durations as integer microseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from tidemill.core.errors import InvalidArgument

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {
    "us": 1,
    "ms": 1000,
    "s": 10**6,
    "m": 60 * 10**6,
    "h": 3600 * 10**6,
    "d": 86400 * 10**6,
    "w": 7 * 86400 * 10**6,
}
_PART = re.compile(r"(\d+)(us|ms|s|m|h|d|w)")

_EXPECTED_TIME = "an ISO-8601 time such as 2013-04-01T00:00:00Z (naive means UTC)"


class Now:
    """The type of `NOW`: the earlier of the clock and the data's watermark, resolved when the work starts."""

    def __repr__(self) -> str:
        return "tm.NOW"

    def __reduce__(self) -> str:
        return "NOW"


NOW: Final = Now()

Time: TypeAlias = str | int | datetime | Now
"""A time as users write it: ISO text, datetime (naive means UTC), microseconds, or `NOW`."""

Duration: TypeAlias = str | int | timedelta
"""A duration as users write it: text such as "24h" or "1d12h", timedelta, or microseconds."""


def parse_duration(value: Duration) -> int:
    """A duration in microseconds. Durations are absolute: one day is 24 hours.

    Raises:
        InvalidArgument: The text is not a duration, or it is negative.

    Example:
        >>> parse_duration("1d12h") == 36 * 3600 * 1_000_000
        True
    """
    if isinstance(value, timedelta):
        micros = value // timedelta(microseconds=1)
    elif type(value) is int:
        micros = value
    else:
        micros = _parse_duration_text(value)
    if micros < 0:
        raise InvalidArgument(f"the duration {value!r} is negative")
    return micros


def _parse_duration_text(text: object) -> int:
    compact = text.replace(" ", "") if isinstance(text, str) else ""
    parts = _PART.findall(compact)
    if not parts or "".join(n + u for n, u in parts) != compact:
        raise InvalidArgument(
            f"{text!r} is not a duration", expected="text such as '30s', '15m', '24h', '7d' or '1d12h'"
        )
    return sum(int(n) * _UNITS[u] for n, u in parts)


def format_duration(micros: int) -> str:
    """The shortest exact text of a duration in one unit.

    Example:
        >>> format_duration(parse_duration("1d12h"))
        '36h'
    """
    for unit in ("d", "h", "m", "s", "ms"):
        if micros and micros % _UNITS[unit] == 0:
            return f"{micros // _UNITS[unit]}{unit}"
    return f"{micros}us"


def to_micros(value: str | int | datetime) -> int:
    """A time as microseconds since the epoch; naive means UTC.

    Raises:
        InvalidArgument: The text is not an ISO-8601 time.

    Example:
        >>> to_micros("1970-01-01T00:00:01")
        1000000
    """
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return (aware - _EPOCH) // timedelta(microseconds=1)
    if type(value) is int:
        return value
    try:
        return to_micros(datetime.fromisoformat(str(value)))
    except ValueError:
        raise InvalidArgument(f"{value!r} is not a time", expected=_EXPECTED_TIME) from None


def parse_moment(text: str, now: int) -> int:
    """A time in words of a command line: ISO text, or how long ago, as microseconds since the epoch.

    Raises:
        InvalidArgument: The text is neither.

    Example:
        >>> parse_moment("1h", 3_600_000_001), parse_moment("1970-01-01", 0)
        (1, 0)
    """
    try:
        return now - parse_duration(text)
    except InvalidArgument:
        pass
    try:
        return to_micros(text)
    except InvalidArgument:
        raise InvalidArgument(
            f"{text!r} is neither a time nor a duration",
            expected="for example 2024-05-01T12:00:00Z, or 7d for a week ago",
        ) from None


def to_datetime(micros: int) -> datetime:
    """The aware UTC datetime of microseconds since the epoch."""
    return _EPOCH + timedelta(microseconds=micros)


def format_time(micros: int) -> str:
    """ISO-8601 text with `Z`.

    Example:
        >>> format_time(0)
        '1970-01-01T00:00:00Z'
    """
    return to_datetime(micros).isoformat().replace("+00:00", "Z")
