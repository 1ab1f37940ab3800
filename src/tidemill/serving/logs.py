"""Logs as JSON lines on standard error."""

from __future__ import annotations

import json
import logging
import sys

from tidemill.core.clock import Clock
from tidemill.core.times import format_time

_EXTRA = ("request_id", "endpoint", "status", "duration_ms", "generation")


class JsonFormatter(logging.Formatter):
    """One JSON object a line; times by the platform's clock.

    Args:
        clock: The clock.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": format_time(self._clock.now()), "level": record.levelname.lower(), "logger": record.name,
                "message": record.getMessage(), "pid": record.process}  # fmt: skip
        line.update({name: getattr(record, name) for name in _EXTRA if hasattr(record, name)})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_json(clock: Clock, level: str) -> None:
    """Send this process's logs of Tidemill to standard error.

    Args:
        clock: Where the lines' times come from.
        level: The lowest level that is written, such as `warning`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(clock))
    logger = logging.getLogger("tidemill")
    logger.handlers = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
