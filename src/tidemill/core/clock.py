"""Clocks. Nothing else in Tidemill reads the time of day.

Times are integer microseconds since 1970-01-01T00:00Z. A clock is injected everywhere, so tests stand still and the demo
lives through a year in minutes with one clock shared by all its processes.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path
from typing import Protocol

from tidemill.core.errors import InvalidArgument

MICROS_PER_SECOND = 1_000_000


class Clock(Protocol):
    """Where the time comes from. Safe to call from any thread."""

    def now(self) -> int:
        """Microseconds since the epoch, UTC."""
        ...


class SystemClock:
    """The machine's clock.

    Example:
        >>> SystemClock().now() > 1_700_000_000_000_000
        True
    """

    def now(self) -> int:
        return time.time_ns() // 1000


class ManualClock:
    """A clock that moves only when told to.

    Args:
        start: First reading, microseconds since the epoch.

    Example:
        >>> clock = ManualClock(0)
        >>> clock.advance(5)
        >>> clock.now()
        5
    """

    def __init__(self, start: int) -> None:
        self._now = start

    def now(self) -> int:
        return self._now

    def advance(self, micros: int) -> None:
        """Move forward by `micros` microseconds."""
        self.set(self._now + micros)

    def set(self, micros: int) -> None:
        """Move to `micros`; a clock never goes back."""
        if micros < self._now:
            raise InvalidArgument(f"the clock cannot go back from {self._now} to {micros}")
        self._now = micros


class SharedClock:
    """A clock kept in a small file, read by every process of an accelerated project and set by one.

    Args:
        path: The file. Created with the time zero if it does not exist.
    """

    _FORMAT = struct.Struct("<q")

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if os.fstat(fd).st_size < self._FORMAT.size:
                os.ftruncate(fd, self._FORMAT.size)
            self._map = mmap.mmap(fd, self._FORMAT.size)
        finally:
            os.close(fd)

    def now(self) -> int:
        value: int = self._FORMAT.unpack_from(self._map)[0]
        return value

    def set(self, micros: int) -> None:
        """Move to `micros`; a clock never goes back."""
        if micros < self.now():
            raise InvalidArgument(f"the clock cannot go back from {self.now()} to {micros}")
        # One aligned 8-byte store: a reader sees the old or the new time, never a mixture.
        self._FORMAT.pack_into(self._map, 0, micros)


def open_clock(url: str, home: Path) -> Clock:
    """The clock a settings value names.

    Args:
        url: `system`, or `shared:FILE` with FILE relative to the home.
        home: The project's home folder.

    Raises:
        InvalidArgument: The value names no clock.
    """
    if url == "system":
        return SystemClock()
    kind, _, file = url.partition(":")
    if kind == "shared" and file:
        return SharedClock(home / file)
    raise InvalidArgument(f"clock = {url!r} names no clock", known=["system", "shared:FILE"])
