"""Lines of the log: sentences on a terminal, JSON elsewhere. It imports nothing heavy."""

from __future__ import annotations

import os
from typing import Any, TextIO

import msgspec

from tidemill.core.clock import Clock
from tidemill.core.times import format_time


def announce(out: TextIO, clock: Clock, message: str, *, level: str = "info", **more: Any) -> None:
    """Say something.

    Args:
        out: Where to.
        clock: Where the line's time comes from.
        message: A sentence.
        level: `info`, `warning` or `error`.
        more: Further fields of the JSON line.

    Example:
        >>> import sys
        >>> from tidemill.core.clock import ManualClock
        >>> announce(sys.stdout, ManualClock(0), "It began.")  # doctest: +ELLIPSIS
        {"time":"1970-01-01T00:00:00Z","level":"info","logger":"tidemill.streaming","message":"It began.","pid":...}
    """
    line = message
    if not out.isatty():
        fields = {"time": format_time(clock.now()), "level": level, "logger": "tidemill.streaming", "message": message,
                  "pid": os.getpid(), **more}  # fmt: skip
        line = msgspec.json.encode(fields).decode()
    out.write(line + "\n")
    out.flush()
