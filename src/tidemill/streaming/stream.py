"""One source's broker, read into its table and its views."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import TypeVar

import polars as pl

from tidemill.core.errors import Conflict, StorageFull, Unavailable
from tidemill.core.specs.sources import Source
from tidemill.data.pushed import Feed, Taken
from tidemill.platform import Platform
from tidemill.stores.consumers.open import open_consumer
from tidemill.stores.consumers.protocol import Consumer, Event
from tidemill.streaming.options import Options, broker_of, feed_name
from tidemill.streaming.status import Gauge
from tidemill.streaming.views import SourceViews

_LOOK_SECONDS = 0.5
"""How long one look at the broker waits, and how long a request to stop may."""

_TELL_SECONDS = 1.0
"""How often the broker is told how far its events are stored, and asked how many there are."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0

_PASSING = (Unavailable, StorageFull, Conflict)
"""What may be over soon: the same batch is tried again."""

T = TypeVar("T")


class Stream:
    """Reads events in batches: each is made durable with its positions in one step, then brought into the views.

    There is never more than one batch in memory, and no other is read before it is durable: what is slow here stays with
    the broker. Killed at any point, the next process goes on after the last durable position.

    Args:
        platform: The platform.
        source: A source whose URL names a broker.
        options: How it is read.

    Raises:
        InvalidArgument: The source's URL names no broker.
    """

    def __init__(self, platform: Platform, source: Source, options: Options) -> None:
        self._platform = platform
        self._source = source
        self._url = broker_of(source)
        self._options = options
        self._views = SourceViews(platform, source)
        self._untold: dict[str, str] = {}
        self._rows = 0
        self._told = self._compacted = time.monotonic()
        self.gauge = Gauge(source.name)

    def run(self, stop: threading.Event) -> None:
        """Read until told to stop, or until everything is read when the options say so.

        Args:
            stop: Set when the batch at hand shall be the last.

        Raises:
            Unavailable: The broker or a store was away for longer than the options allow.
            NotFound: The broker has no such topic.
        """
        group = f"{self._platform.scope.project}.{self._source.name}"
        with closing(open_consumer(self._url, self._platform.settings.home_path, group=group)) as consumer:
            feed = Feed(feed_name(self._url), consumer.replays)
            consumer.seek(lambda partition: self._platform.data.positions(self._source, feed.name).get(partition))
            self._catch_up()
            self._read(consumer, feed, stop)
            self._tell(consumer)
        self._compact()

    def _read(self, consumer: Consumer, feed: Feed, stop: threading.Event) -> None:
        while not stop.is_set():
            events = self._insisting(lambda: self._gather(consumer, stop), stop)
            if events:
                # A batch that was read is stored even when the stop came meanwhile, unless a store is away.
                self._store(consumer, feed, events, stop)
            else:
                self._catch_up()
            self._tidy(consumer)
            if self._options.drain and not events and self._is_drained(consumer):
                return

    def _gather(self, consumer: Consumer, stop: threading.Event) -> list[Event]:
        """A batch: full, or what came within the linger time of its first event."""
        limit = self._options.limit
        events = consumer.poll(limit, _LOOK_SECONDS)
        ends = time.monotonic() + self._options.linger
        while events and len(events) < limit and not stop.is_set():
            left = ends - time.monotonic()
            if left <= 0:
                break
            try:
                events += consumer.poll(limit - len(events), left)
            except Unavailable:
                break  # what came is stored first; the next look tells
        return events

    def _store(self, consumer: Consumer, feed: Feed, events: list[Event], stop: threading.Event) -> None:
        found = self._insisting(lambda: self._take(feed, events), stop)
        if found is None:
            return  # not durable: it comes again
        frames, taken = found
        self._untold.update({event.partition: event.position for event in events})
        self._rows += taken.rows
        self.gauge.took(taken, dict(self._untold) if feed.replays else {}, self._platform.scope.now())
        if not feed.replays:
            self._tell(consumer)
        self._views.take(frames)
        self.gauge.behind = dict(self._views.behind)

    def _take(self, feed: Feed, events: list[Event]) -> tuple[list[pl.DataFrame], Taken]:
        try:
            return self._platform.data.take(self._source, events, feed)
        except _PASSING as error:
            # A part of the events may be durable; the next attempt leaves it out, so the views find it in the table.
            self._views.fall_behind(str(error))
            raise

    def _catch_up(self) -> None:
        self._views.catch_up()
        self.gauge.behind = dict(self._views.behind)

    def _tell(self, consumer: Consumer) -> None:
        """Tell the broker what is stored; and look how much there is."""
        self._told = time.monotonic()
        try:
            if self._untold:
                consumer.commit(self._untold)
                self._untold = {}
            self.gauge.lag = consumer.lag()
        except Unavailable as error:  # nothing rests on it; the next look at the broker meets the same
            self.gauge.is_away(str(error))

    def _tidy(self, consumer: Consumer) -> None:
        now = time.monotonic()
        if now - self._told >= _TELL_SECONDS:
            self._tell(consumer)
        if self._rows >= self._options.compact_rows or now - self._compacted >= self._options.compact_every:
            self._compact()
            self._rows, self._compacted = 0, now

    def _compact(self) -> None:
        try:
            self._platform.data.flush(self._source)
        except _PASSING as error:  # the rows are durable where they are; a reader or the next attempt moves them
            self.gauge.is_away(str(error))

    def _is_drained(self, consumer: Consumer) -> bool:
        self._tell(consumer)
        return self.gauge.state == "reading" and bool(self.gauge.lag) and not any(self.gauge.lag.values())

    def _insisting(self, work: Callable[[], T], stop: threading.Event) -> T | None:
        """What some work returns, tried again while the broker or a store is away; None when told to stop meanwhile."""
        ends = time.monotonic() + self._options.patience
        pause = _FIRST_PAUSE
        while True:
            try:
                done = work()
            except _PASSING as error:
                self.gauge.is_away(str(error))
                if time.monotonic() > ends:
                    raise
            else:
                self.gauge.is_reading()
                return done
            if stop.wait(pause):
                return None
            pause = min(2 * pause, _LONGEST_PAUSE)
