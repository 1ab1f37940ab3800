"""What the service says while it works: a line that changes on a terminal, JSON lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TextIO

import msgspec

from tidemill.core.clock import Clock
from tidemill.streaming.lines import announce
from tidemill.streaming.status import Status

LOG_SECONDS = 10.0
"""How often the log says how far things are, when nothing else changes."""


class ProgressLine:
    """One line on a terminal, written over itself.

    Args:
        out: The terminal.
        clock: The platform's clock.
    """

    def __init__(self, out: TextIO, clock: Clock) -> None:
        self._out = out
        self._clock = clock

    def __call__(self, statuses: Sequence[Status]) -> None:
        now = self._clock.now()
        self._out.write("\r\033[2K" + "  |  ".join(summary(status, now) for status in statuses))
        self._out.flush()

    def close(self) -> None:
        """Leave the last line as it is."""
        self._out.write("\n")
        self._out.flush()


class JsonLog:
    """One JSON line per stream when its state changes, and every ten seconds.

    Args:
        out: Where to.
        clock: The platform's clock.
    """

    def __init__(self, out: TextIO, clock: Clock) -> None:
        self._out = out
        self._clock = clock
        self._said: dict[str, tuple[str, float]] = {}

    def __call__(self, statuses: Sequence[Status]) -> None:
        for status in statuses:
            state, moment = self._said.get(status.source, ("", 0.0))
            if status.state != state or time.monotonic() - moment >= LOG_SECONDS:
                self._said[status.source] = (status.state, time.monotonic())
                level, fields = "info" if status.well else "warning", msgspec.to_builtins(status)
                announce(self._out, self._clock, status.detail or status.state, level=level, **fields)

    def close(self) -> None:
        """Nothing is open."""


def summary(status: Status, now: int) -> str:
    """A status in a few words.

    Args:
        status: The status.
        now: The platform's time, microseconds.
    """
    taken, aside = status.taken, []
    for count, word in (
        (taken.quarantined, "quarantined"), (taken.dead, "dead"), (taken.duplicates + taken.redelivered, "again"),
    ):  # fmt: skip
        aside += [f"{count:,} {word}"] if count else []
    age = "none yet" if status.checkpoint is None else f"{max(0, now - status.checkpoint) / 1e6:.0f} s ago"
    words = [
        f"{status.source} {status.state}", f"{taken.rows:,} rows", *aside, f"{status.rate:,.0f}/s",
        f"lag {sum(status.lag.values()):,}", f"checkpoint {age}",
    ]  # fmt: skip
    behind = [f"{view} is behind" for view in status.behind]
    return ", ".join([*words, *behind, *([status.detail] if status.detail else [])])
