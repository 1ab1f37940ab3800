"""An online store on a server that may be away: writes are kept and replayed in order, reads fall back as declared."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

import numpy as np

from tidemill.core.errors import NotFound, StorageFull, Unavailable
from tidemill.stores.online.pending import Appended, Declared, Dropped, Pending, Trimmed, Write
from tidemill.stores.online.protocol import (
    Block,
    Entries,
    Entry,
    Latest,
    OnlineReader,
    OnlineStore,
    Position,
    Question,
    Range,
    T,
    ViewStats,
    append_then_ask,
)

PAUSE = 0.5
"""Seconds between attempts to reach a server that was away."""


class BufferedOnline:
    """A store on a server, with what is needed to go on without it for a while.

    A write that finds the server away is kept in a durable log, and so are all after it, until they were carried out in their
    order; the next read or write after the server is back does that first. While it is away, what a service asks (`answer`) is
    an error, answered as if there were no records, or answered by a second store that takes every write as well. All other
    reads, on which writes depend, are an error unless there is a second store.

    Args:
        server: The store on the server.
        pending: The log.
        nulls: Whether services are answered as if there were no records while the server is away.
        second: A store on this machine that answers instead.
        pause: Seconds during which a server that was away is not asked again.
    """

    def __init__(
        self, server: OnlineStore, pending: Pending, *, nulls: bool = False, second: OnlineStore | None = None,
        pause: float = PAUSE,
    ) -> None:  # fmt: skip
        self._server, self._pending, self._pause = server, pending, pause
        self._nulls, self._second = nulls, second
        self._away_until = -1.0
        self._reason = "it was not asked yet"
        self._check_log = True  # an earlier process may have left writes
        self._pid, self._catching = os.getpid(), threading.Lock()
        self._seen = Seen()

    def read(self) -> BufferedReader:
        return BufferedReader(self)

    def declare(self, view: str, *, width: int | None) -> None:
        self._write(Declared(view, width))

    def append(self, view: str, entries: Entries, *, positions: Mapping[str, int] | None = None) -> int:
        """Add records; those that are kept for later are all taken for new ones."""
        return self._write(Appended(view, entries, dict(positions or {})))

    def exchange(self, view: str, entry: Entry, ask: Callable[[OnlineReader], T]) -> tuple[bool, T]:
        return append_then_ask(self, view, entry, ask)

    def trim(self, view: str, before: int) -> int:
        """Forget records; how many is not known, and 0, while the server is away."""
        return self._write(Trimmed(view, before))

    def drop(self, view: str) -> None:
        self._write(Dropped(view))

    def close(self) -> None:
        for store in filter(None, (self._server, self._second)):
            store.close()
        self._pending.close()

    def condition(self) -> str | None:
        """What is wrong; None when the server answers and nothing waits for it."""
        with self.read() as reader:
            there = reader.on_server
            if there:
                try:
                    reader.views()
                except Unavailable:
                    there = False
        told = [] if there else [self._reason]
        for count, what in (
            (len(self._pending), "waiting for it"),
            (self._pending.refused(), "that could not be carried out"),
        ):
            if count:
                told.append(f"{count} writes {what}" if count > 1 else f"1 write {what}")
        return "; ".join(told) or None

    def away(self, error: Unavailable) -> None:
        """Note that the server does not answer."""
        self._away_until = time.monotonic() + self._pause
        self._check_log = True  # other processes may have kept writes
        self._reason = str(error)

    def begin(self) -> AbstractContextManager[OnlineReader] | None:
        """A read of the server, once the writes that waited are done; None while it is away."""
        if time.monotonic() < self._away_until:
            return None
        try:
            with suppress(StorageFull):  # what is kept stays so, and reads need no room
                self._catch_up()
        except Unavailable as error:
            self.away(error)
            return None
        return self._server.read()

    def instead(self) -> AbstractContextManager[OnlineReader]:
        """A read of who answers instead of the server.

        Raises:
            Unavailable: Nobody does.
        """
        if self._second is None:
            raise Unavailable(self._reason)
        return self._second.read()

    def nulls(self, questions: Sequence[Question]) -> list[Any] | None:
        """Answers as if there were no records; None when that was not asked for, or not enough is known for it."""
        return self._seen.nulls(questions) if self._nulls else None

    def note(self, questions: Sequence[Question], answers: Sequence[Any]) -> None:
        """Remember what answers without records need."""
        if self._nulls:
            self._seen.note(questions, answers)

    def _write(self, write: Write) -> int:
        found = None
        if self._second is not None:
            with suppress(NotFound):  # it was made the second store after this view had been filled
                found = write.run(self._second)
        if time.monotonic() >= self._away_until:
            self._check_log = True  # another process may have kept a write that comes before this one
            try:
                self._catch_up()
                return write.run(self._server)
            except Unavailable as error:
                self.away(error)
        self._pending.add(write)
        self._check_log = True
        return write.assumed if found is None else found

    def _catch_up(self) -> None:
        """Carry out what waits, if there may be something; other threads wait, so that no newer write comes first."""
        if self._check_log:
            if self._pid != os.getpid():  # a forked child has none of the threads that may hold the lock
                self._pid, self._catching = os.getpid(), threading.Lock()
            with self._catching:
                if len(self._pending):
                    self._pending.carry_out(self._server)
                self._check_log = False
                if len(self._pending):  # kept by another thread meanwhile
                    self._check_log = True


class BufferedReader:
    """Reads of a `BufferedOnline`: from the server, or from whoever answers instead once it went away."""

    unchanged: object | None = None

    def __init__(self, store: BufferedOnline) -> None:
        self._store = store
        self._open: list[AbstractContextManager[OnlineReader]] = []
        self._server: OnlineReader | None = None
        self._second: OnlineReader | None = None

    def __enter__(self) -> BufferedReader:
        reading = self._store.begin()
        if reading is not None:
            try:
                self._server = reading.__enter__()
                self._open.append(reading)
            except Unavailable as error:
                self._store.away(error)
        return self

    def __exit__(self, *error: Any) -> None:
        for reading in reversed(self._open):
            with suppress(Unavailable):  # the answers are there; who left has nothing to give back
                reading.__exit__(*error)

    @property
    def on_server(self) -> bool:
        """Whether the server answers."""
        return self._server is not None

    def answer(self, questions: Sequence[Question]) -> list[Any]:
        if self._server is not None:
            try:
                answers = self._server.answer(questions)
            except Unavailable as error:
                self._left(error)
            else:
                self._store.note(questions, answers)
                return answers
        nulls = self._store.nulls(questions)
        return self._instead(lambda reader: reader.answer(questions)) if nulls is None else nulls

    def latest(
        self, view: str, keys: Sequence[bytes | None], at: Sequence[int], *, known: bool = False
    ) -> list[bytes | None]:
        return self._ask(lambda reader: reader.latest(view, keys, at, known=known))

    def range(
        self, view: str, keys: Sequence[bytes | None], start: Sequence[int], end: Sequence[int]
    ) -> Sequence[Block]:
        return self._ask(lambda reader: reader.range(view, keys, start, end))

    def position(self, view: str, feed: str) -> int | None:
        return self._ask(lambda reader: reader.position(view, feed))

    def stats(self, view: str) -> ViewStats:
        return self._ask(lambda reader: reader.stats(view))

    def views(self) -> list[str]:
        return self._ask(lambda reader: reader.views())

    def _ask(self, ask: Callable[[OnlineReader], T]) -> T:
        if self._server is not None:
            try:
                return ask(self._server)
            except Unavailable as error:
                self._left(error)
        return self._instead(ask)

    def _instead(self, ask: Callable[[OnlineReader], T]) -> T:
        if self._second is None:
            reading = self._store.instead()
            self._second = reading.__enter__()
            self._open.append(reading)
        return ask(self._second)

    def _left(self, error: Unavailable) -> None:
        self._server = None
        self._store.away(error)


class Seen:
    """What answers without records are made from: positions of feeds, and how wide the rows of views are."""

    def __init__(self) -> None:
        self._positions: dict[Position, int | None] = {}
        self._words: dict[str, int] = {}

    def note(self, questions: Sequence[Question], answers: Sequence[Any]) -> None:
        """Remember answers of the server."""
        for question, answer in zip(questions, answers, strict=True):
            if isinstance(question, Position):
                self._positions[question] = answer
            elif isinstance(question, Range) and answer:
                self._words[question.view] = answer[0].words.shape[1]

    def nulls(self, questions: Sequence[Question]) -> list[Any] | None:
        """Answers as if there were no records; None when a question was never answered."""
        answers: list[Any] = []
        for question in questions:
            if isinstance(question, Position):
                if question not in self._positions:
                    return None
                answers.append(self._positions[question])
            elif isinstance(question, Latest):
                answers.append([None] * len(question.keys))
            elif isinstance(question, Range):
                if question.view not in self._words:
                    return None
                answers.append([Block(np.empty((0, self._words[question.view]), np.int64)) for _ in question.keys])
            else:
                answers.append(ViewStats(0, None))
        return answers
