"""One thread that does a worker's computing, so that its event loop stays free for connections and health."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Lane:
    """Runs jobs one after another in a thread of its own; work that nobody waits for runs when nothing else does.

    Args:
        background: How many pieces of work nobody waits for may queue up; more are refused.
    """

    def __init__(self, *, background: int = 64) -> None:
        self._jobs: deque[Callable[[], None]] = deque()
        self._later: deque[Callable[[], None]] = deque()
        self._background = background
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="lane", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], T], finished: Callable[[], None]) -> asyncio.Future[T]:
        """Queue a job of the running event loop.

        Args:
            job: What to do; skipped if its future is done (cancelled, expired) when its turn comes.
            finished: Called in the event loop once the job has run or was skipped, whoever still waits.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            outcome = None if future.done() else _attempt(job)
            loop.call_soon_threadsafe(_settle, future, outcome, finished)

        self._put(self._jobs, run)
        return future

    def later(self, work: Callable[[], None]) -> bool:
        """Queue work that nobody waits for; False if too much of it is waiting already."""
        if len(self._later) >= self._background:
            return False
        self._put(self._later, work)
        return True

    def _put(self, queue: deque[Callable[[], None]], work: Callable[[], None]) -> None:
        with self._wake:
            queue.append(work)
            self._wake.notify()

    def close(self) -> None:
        """Finish what is queued, then end the thread."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _work(self) -> None:
        while (work := self._next()) is not None:
            try:
                work()
            except Exception:  # noqa: BLE001 - the lane must outlive anything that runs on it
                _log.exception("work in the background failed")

    def _next(self) -> Callable[[], None] | None:
        with self._wake:
            while not (self._jobs or self._later or self._closed):
                self._wake.wait()
            if self._jobs:
                return self._jobs.popleft()
            return self._later.popleft() if self._later else None


Outcome = tuple[T | None, BaseException | None]


def _attempt(job: Callable[[], T]) -> Outcome[T]:
    try:
        return job(), None
    except Exception as error:  # noqa: BLE001 - it is handed to whoever waits
        return None, error


def _settle(future: asyncio.Future[T], outcome: Outcome[T] | None, finished: Callable[[], None]) -> None:
    finished()
    if future.done() or outcome is None:
        return
    result, error = outcome
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)  # type: ignore[arg-type]
