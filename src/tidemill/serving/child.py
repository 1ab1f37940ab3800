"""A child process as the supervisor sees it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

from tidemill.serving.channel import Channel


@dataclass
class Child:
    """A worker or the reconciler.

    Args:
        pid: Its process.
        channel: To it.
        index: Its region of the board; -1 for the reconciler.
        state: `starting`, `ready` or `draining`.
        started: When it was started, by the monotonic clock.
    """

    pid: int
    channel: Channel
    index: int
    state: str = "starting"
    started: float = field(default_factory=time.monotonic)

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.started

    def kill(self, number: int = signal.SIGTERM) -> None:
        """Send it a signal, if it still exists."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


def start_child(work: Callable[[Channel], None], *, index: int, forget: Callable[[], None]) -> Child:
    """Fork a child that does some work and ends.

    The parent must not have used a library with threads of its own: its threads would be missing in the child.

    Args:
        work: What the child does with its end of the channel.
        index: Its region of the board.
        forget: Closes what only the parent may hold, in the child.
    """
    ours, theirs = Channel.pair()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        theirs.close()
        return Child(pid, ours, index)
    code = 1
    try:
        ours.close()
        forget()
        work(theirs)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - the end of a process; nothing above could tell
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class Pace:
    """How long to wait before a child that died is started again: not at all, unless it dies again and again."""

    def __init__(self) -> None:
        self._failures = 0
        self._not_before = 0.0

    def died(self, age: float) -> None:
        """A child died at that age in seconds."""
        self._failures = self._failures + 1 if age < 10.0 else 1
        delay = 0.0 if self._failures <= 2 else min(10.0, 0.25 * 2 ** (self._failures - 3))
        self._not_before = time.monotonic() + delay

    @property
    def remaining(self) -> float:
        """Seconds until the next one may be started."""
        return max(0.0, self._not_before - time.monotonic())
