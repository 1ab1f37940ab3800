"""The daemon: one process of a home at a time watches, acts, sends, verifies and tidies. A lease settles who does."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from tidemill.core.clock import SystemClock
from tidemill.core.errors import Conflict, TidemillError
from tidemill.core.records.events import Event, Lease, Position
from tidemill.core.records.verifications import ServiceVerification
from tidemill.core.settings import OFF
from tidemill.core.times import parse_duration
from tidemill.pipelines.triggers import fired
from tidemill.platform import Platform

LEASE_MICROS = 15_000_000
"""A holder that shows no sign of life for so long has lost the lease."""

BEAT_SECONDS = 3.0

JOIN_EVERY = 32
"""Rounds after which the small files of tables are joined, those of so many commits or more, and superseded views forgotten."""

COMPACT_AT = 1000
"""Pushes that wait, from which on they are moved into the table in the next round. Fewer are, every `JOIN_EVERY` rounds."""

VERIFY_SECONDS = 10.0
"""How often it is looked whether a verification of served features is due."""

TRIM_PARTS = 8
"""The online store is trimmed again once an eighth of the allowed lateness has passed."""

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
    """Runs rounds in a thread for as long as it holds the lease, and verifies served features in another.

    Args:
        platform: The platform to work on.
        every: Seconds between two rounds; None means that rounds are run by calling `tick` (and `verify`), and that
            entering waits for the lease.
        wait: Whether a retrain is waited for; a round then returns after it.
    """

    def __init__(self, platform: Platform, *, every: float | None = 2.0, wait: bool = False) -> None:
        self._platform = platform
        self._every = every
        self._wait = wait
        self._leadership = Leadership(platform)
        self._rounds = 0
        self._trimmed: int | None = None
        self._stop = threading.Event()
        # What takes long does not keep the alarms waiting.
        self._threads = [
            threading.Thread(target=self._run, args=[name, work, seconds], name=f"tidemill-{name}", daemon=True)
            for name, work, seconds in (
                ("daemon", self.tick, every), ("verification", self.verify, VERIFY_SECONDS),
            )
        ]  # fmt: skip

    def __enter__(self) -> Daemon:
        with ExitStack() as stack:
            stack.enter_context(self._leadership)
            if self._every is None:
                self._leadership.await_lease()
            else:
                for thread in self._threads:
                    thread.start()
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._every is not None:
            for thread in self._threads:
                thread.join()
        self._leadership.__exit__(kind, error, trace)

    def _run(self, name: str, work: Callable[[], object], seconds: float) -> None:
        while not self._stop.wait(seconds):
            try:
                if self._leadership.held:
                    work()
            except Exception:  # noqa: BLE001 - the thread's edge: the next round tries again, the log says what failed
                _log.exception("a round of the %s failed", name)

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
            self._trim()
        return done

    def verify(self) -> list[ServiceVerification]:
        """Verify the feature services that are due; a defect fires an alert, which a later round sends.

        Returns:
            What was found, of each service that served anything.
        """
        platform, found = self._platform, []
        platform.alerting.handle_verifications()  # those of a process that was killed before it did
        for service in platform.verifications.due():
            if self._stop.is_set():
                break
            found += [one for one in [platform.verifications.run(service)] if one is not None]
            platform.alerting.handle_verifications()
        return found

    def _trim(self) -> None:
        """Forget online what no question from now on reaches."""
        lateness, now = self._platform.settings.lateness, self._platform.scope.now()
        if lateness == OFF:
            return
        if self._trimmed is None or now - self._trimmed >= parse_duration(lateness) // TRIM_PARTS:
            self._platform.features.trim(lateness)
            self._trimmed = now

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
