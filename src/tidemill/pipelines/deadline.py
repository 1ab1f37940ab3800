"""Stopping a step that takes too long."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tidemill.core.errors import DeadlineExceeded


class _Expired(BaseException):
    """Raised into the running step; not an Exception, so that a step that catches those is stopped all the same."""


@contextmanager
def time_limit(micros: int | None, what: str) -> Iterator[None]:
    """Stop the block when it takes longer than allowed.

    In the main thread, which is where a pipeline's own process works, the block is interrupted at the next Python
    instruction. In another thread nothing can interrupt it: it is found to be late when it ends.

    Args:
        micros: How long the block may take; None for as long as it likes.
        what: What it is, for the message.

    Raises:
        DeadlineExceeded: It took longer.
    """
    if micros is None:
        yield
        return
    began = time.monotonic()
    try:
        if threading.current_thread() is threading.main_thread():
            with _alarm(micros / 1e6):
                yield
        else:
            yield
    except _Expired:
        raise _late(what, micros) from None
    if time.monotonic() - began > micros / 1e6:
        raise _late(what, micros)


def _late(what: str, micros: int) -> DeadlineExceeded:
    return DeadlineExceeded(f"{what} took too long", expected=f"at most {micros / 1e6:g} s",
                            hint="Give it a longer timeout=, or less work")  # fmt: skip


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, _expire)
    pending, interval = signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if pending:  # a timer of somebody else goes on, less the time that passed
            signal.setitimer(signal.ITIMER_REAL, max(pending - (time.monotonic() - began), 1e-3), interval)


def _expire(number: int, frame: FrameType | None) -> Any:
    raise _Expired
