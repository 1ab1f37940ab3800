"""The daemon: one process of a home at a time watches, acts, sends and tidies. Who does it is settled by a lease."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from tidemill.core.clock import SystemClock
from tidemill.core.errors import Conflict, TidemillError
from tidemill.core.records.events import Event, Lease, Position
from tidemill.pipelines.triggers import fired
from tidemill.platform import Platform

LEASE_MICROS = 15_000_000
"""A holder that shows no sign of life for so long has lost the lease."""

BEAT_SECONDS = 3.0

JOIN_EVERY = 32
"""Rounds after which the small files of tables are joined, those of so many commits or more, and superseded views forgotten."""

COMPACT_AT = 1000
"""Pushes that wait, from which on they are moved into the table in the next round. Fewer are, every `JOIN_EVERY` rounds."""

_log = logging.getLogger("tidemill.daemon")


class Leadership:
    """A lease that is kept alive by a thread while it is held, however long one round of work takes.

    Args:
        platform: Where the lease is kept.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        # Leases run on real time, also where the platform's clock is accelerated.
        self._clock = SystemClock()
        self._name = f"daemon/{platform.scope.project}"
        # A process may hold several platforms, and process ids come again.
        self._holder = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="tidemill-lease", daemon=True)
        self.held = False

    def __enter__(self) -> Leadership:
        self.held = self._acquire()
        self._thread.start()
        return self

    def await_lease(self) -> None:
        """Wait until the lease is held, at most for as long as that of a process that was killed runs on.

        Raises:
            Conflict: Another process holds it, and lives.
        """
        ends = time.monotonic() + LEASE_MICROS / 1e6 + 2 * BEAT_SECONDS
        while not self.held:
            if time.monotonic() > ends:
                raise Conflict(
                    f"another process watches project {self._platform.scope.project!r}: {self._other()}",
                    hint="End its `tidemill up` or `tidemill demo` first",
                )
            self._stop.wait(0.1)

    def _other(self) -> str:
        with self._platform.metadata.read() as reader:
            lease = reader.get(Lease, name=self._name)
        return "nobody by now" if lease is None else lease.holder.rpartition("/")[0]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        # Given back, so that another process need not wait for its end.
        with self._platform.metadata.write() as writer:
            writer.remove(Lease, {"name": self._name, "holder": self._holder})

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            try:
                self.held = self._acquire()
            except TidemillError as error:
                self.held = False
                _log.error("the lease could not be renewed: %s", error)

    def _acquire(self) -> bool:
        now = self._clock.now()
        with self._platform.metadata.write() as writer:
            lease = writer.get(Lease, name=self._name)
            if lease is not None and lease.holder != self._holder and lease.expires_at > now:
                return False
            writer.put(Lease(**self._platform.scope.stamp(), name=self._name, holder=self._holder,
                             expires_at=now + LEASE_MICROS, beat_at=now))  # fmt: skip
        return True


@dataclass
class Tick:
    """What one round did."""

    reports: list[Any] = field(default_factory=list)
    """Windows closed."""
    decisions: list[Any] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    """Runs started by triggers."""


class Daemon:
    """Runs rounds in a thread for as long as it holds the lease.

    Args:
        platform: The platform to work on.
        every: Seconds between two rounds; None means that rounds are run by calling `tick`, and that entering waits for
            the lease.
        wait: Whether a retrain is waited for; a round then returns after it.
    """

    def __init__(self, platform: Platform, *, every: float | None = 2.0, wait: bool = False) -> None:
        self._platform = platform
        self._every = every
        self._wait = wait
        self._leadership = Leadership(platform)
        self._rounds = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tidemill-daemon", daemon=True)

    def __enter__(self) -> Daemon:
        with ExitStack() as stack:
            stack.enter_context(self._leadership)
            if self._every is None:
                self._leadership.await_lease()
            else:
                self._thread.start()
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._every is not None:
            self._thread.join()
        self._leadership.__exit__(kind, error, trace)

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            try:
                if self._leadership.held:
                    self.tick()
            except Exception:  # noqa: BLE001 - the thread's edge: the next round tries again, the log says what failed
                _log.exception("a round of the daemon failed")

    def tick(self) -> Tick:
        """Close complete windows, act on alarms, follow up on retrains, fire triggers, send notifications."""
        platform, done = self._platform, Tick()
        platform.tracking.reap()
        for monitor in platform.definitions.of_kind("monitor").values():
            reports = platform.monitoring.close(monitor)
            done.reports += reports
            done.decisions += platform.alerting.handle(monitor, reports, wait=self._wait)
        done.decisions += platform.alerting.follow_up()
        done.started += self._fire_triggers()
        platform.alerting.deliver()
        self._rounds += 1
        platform.catch_up()
        platform.data.flush(least=COMPACT_AT if self._rounds % JOIN_EVERY else 1)
        if self._rounds % JOIN_EVERY == 0:
            self._join_files()
            platform.forget_superseded()
        return done

    def _join_files(self) -> None:
        """Join the small files of tables that many commits were made to since the last time."""
        tables, consumer = self._platform.tables, "daemon/compact"
        for name in tables.names():
            version = tables.version(name) or 0
            with self._platform.metadata.read() as reader:
                last = reader.get(Position, consumer=consumer, feed=name)
            if version - (0 if last is None else last.position) < JOIN_EVERY:
                continue
            joined = tables.compact(name)
            with self._platform.metadata.write() as writer:
                writer.put(Position(**self._platform.scope.stamp(), consumer=consumer, feed=name, position=joined))

    def _fire_triggers(self) -> list[str]:
        platform = self._platform
        consumer = f"triggers/{platform.scope.project}"
        with platform.metadata.read() as reader:
            position = reader.get(Position, consumer=consumer, feed="events")
            where = {"project": platform.scope.project, "seq": (">", 0 if position is None else position.position)}
            events = reader.find(Event, where, order=["seq"], limit=1000)
        if not events:
            return []
        started = [
            platform.pipelines.start(one.pipeline, arguments={}, reason=one.reason, fingerprint=one.fingerprint,
                                     wait=self._wait)
            for one in fired(events, platform.definitions)
        ]  # fmt: skip
        # Moved only now: a crash before this starts nothing twice, because every start has a fingerprint.
        with platform.metadata.write() as writer:
            stamp = platform.scope.stamp()
            writer.put(Position(**stamp, consumer=consumer, feed="events", position=events[-1].seq))
        return started
