"""Trying again while a broker is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tidemill.core.errors import TidemillError, Unavailable

FIRST_PAUSE = 0.05
"""Seconds between the first attempt and the second; each further pause is twice as long."""

LONGEST_PAUSE = 2.0
"""Seconds a pause grows to."""

T = TypeVar("T")


def persist(work: Callable[[float], T], timeout: float, away: tuple[type[Exception], ...], who: str) -> T:
    """What `work` returns, tried again while the broker is away.

    Args:
        work: Called with the seconds that are left, which may be 0.
        timeout: Seconds after which to give up; at least one attempt is made.
        away: The errors that mean "not there now".
        who: The broker, for the message.

    Raises:
        Unavailable: The time is up.

    Example:
        >>> persist(lambda left: "here", 1.0, (OSError,), "Redis at localhost:6379")
        'here'
    """
    deadline = time.monotonic() + timeout
    pause = FIRST_PAUSE
    while True:
        try:
            return work(max(deadline - time.monotonic(), 0.0))
        except TidemillError:  # some are errors of the system too, but waiting does not help
            raise
        except away as error:
            left = deadline - time.monotonic()
            if left <= 0:
                raise unavailable(who, error) from error
        time.sleep(min(pause, left))
        pause = min(2 * pause, LONGEST_PAUSE)


def unavailable(who: str, error: object) -> Unavailable:
    """The error for a broker that does not answer.

    Args:
        who: The broker.
        error: What its library says.
    """
    reason = str(error).strip() or type(error).__name__
    return Unavailable(f"{who} does not answer ({reason})", hint="It is tried again at the next call. Is it running?")
