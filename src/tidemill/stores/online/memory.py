"""The online store in plain lists: obviously right, for tests and as an oracle."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tidemill.core.errors import unknown
from tidemill.stores.online import chunks
from tidemill.stores.online.protocol import (
    NEVER_KNOWN,
    TIMES,
    Block,
    Entries,
    Entry,
    OnlineReader,
    Question,
    T,
    ViewStats,
    append_then_ask,
    check_width,
    other_width,
)

Record = tuple[tuple[int, ...], bytes]
"""Times and payload."""


@dataclass
class MemoryView:
    """The records of each key, ordered by their times."""

    width: int | None
    records: dict[bytes, list[Record]] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    newest: int | None = None

    def add(self, key: bytes, times: tuple[int, ...], payload: bytes) -> bool:
        """Insert a record unless its times are there already."""
        records = self.records.setdefault(key, [])
        index = bisect.bisect_left(records, times, key=lambda record: record[0])
        if index < len(records) and records[index][0] == times:
            return False
        records.insert(index, (times, payload))
        return True


class MemoryReader:
    """Reads of a `MemoryOnline`."""

    unchanged: object | None = None

    def __init__(self, found: dict[str, MemoryView]) -> None:
        self._views = found

    def view(self, name: str) -> MemoryView:
        if name not in self._views:
            raise unknown("view in the online store", name, self._views, hint="Materialize it first")
        return self._views[name]

    def answer(self, questions: Sequence[Question]) -> list[Any]:
        return [question.ask(self) for question in questions]

    def latest(
        self, view: str, keys: Sequence[bytes | None], at: Sequence[int], *, known: bool = False
    ) -> list[bytes | None]:
        records = self.view(view).records
        return [
            _latest(records.get(key, []) if key is not None else [], time, known)
            for key, time in zip(keys, at, strict=True)
        ]

    def range(self, view: str, keys: Sequence[bytes | None], start: Sequence[int], end: Sequence[int]) -> list[Block]:
        found = self.view(view)
        return [
            _block([r for r in found.records.get(key, []) if low <= r[0][0] < high] if key is not None else [], found)
            for key, low, high in zip(keys, start, end, strict=True)
        ]

    def position(self, view: str, feed: str) -> int | None:
        return self.view(view).positions.get(feed)

    def stats(self, view: str) -> ViewStats:
        found = self.view(view)
        return ViewStats(sum(map(len, found.records.values())), found.newest)

    def views(self) -> list[str]:
        return sorted(self._views)


def _latest(records: list[Record], at: int, known: bool) -> bytes | None:
    for times, payload in reversed(records):
        if times[0] <= at and (not known or NEVER_KNOWN < times[1] <= at):
            return TIMES.pack(*times) + payload
    return None


def _block(records: list[Record], view: MemoryView) -> Block:
    times = np.array([times for times, _ in records], np.int64).reshape(-1, 3)
    payloads = [payload for _, payload in records]
    if view.width is None:
        return Block(times, payloads)
    words = np.frombuffer(b"".join(payloads), np.int64).reshape(len(records), view.width // 8)
    return Block(np.concatenate([times, words], axis=1))


class MemoryOnline:
    """An online store that lives as long as its process."""

    def __init__(self) -> None:
        self._views: dict[str, MemoryView] = {}
        self._lock = threading.RLock()

    @contextmanager
    def read(self) -> Iterator[MemoryReader]:
        with self._lock:
            yield MemoryReader(self._views)

    def declare(self, view: str, *, width: int | None) -> None:
        check_width(view, width)
        with self._lock:
            found = self._views.setdefault(view, MemoryView(width))
        if found.width != width:
            raise other_width(view, found.width, width)

    def append(self, view: str, entries: Entries, *, positions: Mapping[str, int] | None = None) -> int:
        with self._lock:
            found = MemoryReader(self._views).view(view)
            chunks.layout_of(found.width).block(entries)  # refuses payloads that do not fit
            found.positions.update(positions or {})
            times = [tuple(row) for row in entries.times.tolist()]
            if times:
                found.newest = max(times)[0] if found.newest is None else max(found.newest, max(times)[0])
            starts = entries.starts.tolist()
            return sum(
                found.add(key, times[row], bytes(entries.payloads[row]))
                for key, low, high in zip(entries.keys, starts, starts[1:], strict=False)
                for row in range(low, high)
            )

    def exchange(self, view: str, entry: Entry, ask: Callable[[OnlineReader], T]) -> tuple[bool, T]:
        return append_then_ask(self, view, entry, ask)

    def trim(self, view: str, before: int) -> int:
        with self._lock:
            gone = 0
            for records in MemoryReader(self._views).view(view).records.values():
                old = min(sum(times[0] < before for times, _ in records), len(records) - 1)
                del records[:old]
                gone += old
            return gone

    def drop(self, view: str) -> None:
        with self._lock:
            self._views.pop(view, None)

    def close(self) -> None:
        """Nothing to give back."""
