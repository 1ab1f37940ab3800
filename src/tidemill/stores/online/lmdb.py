"""The embedded online store, on LMDB: reads in microseconds from any number of processes.

Keys of the file: view number (4 bytes), length of the key (2), the key, then the times of the chunk's first record,
inverted: the newest chunk of a key comes first, and one seek to `at` finds the chunk that holds the record wanted. View
number 0 holds the descriptions of the views, and positions.
"""

from __future__ import annotations

import bisect
import hashlib
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidemill.core.errors import unknown
from tidemill.stores.online import chunks
from tidemill.stores.online.environment import FIRST_MAP, Environment, acquire, release
from tidemill.stores.online.protocol import TIMES, Block, Entries, Question, ViewStats, check_width, other_width

_VIEW = struct.Struct("<IiQq")
_NEXT, _VIEWS, _POSITIONS = b"\0\0\0\0n", b"\0\0\0\0v", b"\0\0\0\0p"
_LONGEST = 440
"""Longer keys are replaced by their sha256: LMDB's keys end at 511 bytes."""
_TOP = 2**63 - 1
_NONE = -(2**63)
_seek_time = struct.Struct(">Q").pack
_length = struct.Struct(">H").pack
_event = struct.Struct("<q").unpack_from


class View(NamedTuple):
    """The description of a view as kept in the file."""

    number: int
    width: int
    rows: int
    newest: int

    @property
    def layout(self) -> chunks.Layout:
        return chunks.layout_of(None if self.width < 0 else self.width)

    @property
    def prefix(self) -> bytes:
        return self.number.to_bytes(4)


def _framed(key: bytes) -> bytes:
    """The key with its length before it, so that no key is the start of another."""
    if len(key) <= _LONGEST:
        return _length(len(key)) + key
    return b"\xff\xff" + hashlib.sha256(key).digest()


def _inverted(times: NDArray[np.int64]) -> bytes:
    """Times as bytes that sort downwards, 24 for each row."""
    flipped = np.bitwise_xor(np.bitwise_not(times), np.int64(_NONE))
    return flipped.astype(">i8").tobytes()


class LmdbReader:
    """Reads within one transaction."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def __enter__(self) -> LmdbReader:
        self._transaction = self._environment.begin()
        self._cursor = self._transaction.cursor()
        return self

    def __exit__(self, *_: object) -> None:
        self._cursor.close()
        self._environment.end(self._transaction)

    def answer(self, questions: Sequence[Question]) -> list[Any]:
        return [question.ask(self) for question in questions]

    def latest(
        self, view: str, keys: Sequence[bytes | None], at: Sequence[int], *, known: bool = False
    ) -> list[bytes | None]:
        found = _view(self._transaction, view)
        if not found.rows:
            return [None] * len(keys)
        layout, number = found.layout, found.prefix
        seek, value = self._cursor.set_range, self._cursor.item
        result: list[bytes | None] = []
        for key, time in zip(keys, at, strict=True):
            record = None
            if key is not None:
                prefix = number + _framed(key)
                if seek(prefix + _seek_time(_TOP - time)):
                    place, chunk = value()
                    if place.startswith(prefix):
                        record = layout.last(chunk)
                        if known or _event(record)[0] > time:
                            record = chunks.newest_at(layout, chunk, time, known)
                        if record is None and known:
                            record = self._older(layout, prefix, time)
            result.append(record)
        return result

    def _older(self, layout: chunks.Layout, prefix: bytes, at: int) -> bytes | None:
        while self._cursor.next() and self._cursor.key().startswith(prefix):
            record = chunks.newest_at(layout, self._cursor.value(), at, True)
            if record is not None:
                return record
        return None

    def range(self, view: str, keys: Sequence[bytes | None], start: Sequence[int], end: Sequence[int]) -> list[Block]:
        found = _view(self._transaction, view)
        layout, number = found.layout, found.prefix
        result = []
        for key, low, high in zip(keys, start, end, strict=True):
            values = [] if key is None or low >= high else self._values(number + _framed(key), low, high)
            result.append(chunks.within(layout.decode(values), low, high) if values else layout.decode([b""][:0]))
        return result

    def _values(self, prefix: bytes, start: int, end: int) -> list[bytes]:
        """The chunks that may hold records of the range, oldest first."""
        values = []
        limit = prefix + _seek_time(_TOP - start) + b"\xff" * 16  # beyond it chunks begin before the start
        if self._cursor.set_range(prefix + _seek_time(_TOP - end + 1)):
            for place, value in self._cursor:
                if place > limit:  # the chunk that holds the start, or another key
                    if place.startswith(prefix):
                        values.append(value)
                    break
                values.append(value)
        values.reverse()
        return values

    def position(self, view: str, feed: str) -> int | None:
        raw = self._transaction.get(_feed(view, feed))
        if raw is None:
            _view(self._transaction, view)
            return None
        return int.from_bytes(raw, "little", signed=True)

    def stats(self, view: str) -> ViewStats:
        found = _view(self._transaction, view)
        return ViewStats(found.rows, found.newest if found.rows else None)

    def views(self) -> list[str]:
        return _names(self._transaction)


def _view(transaction: Any, name: str) -> View:
    raw = transaction.get(_VIEWS + name.encode())
    if raw is None:
        raise unknown("view in the online store", name, _names(transaction), hint="Materialize it first")
    return View(*_VIEW.unpack(raw))


def _feed(view: str, feed: str) -> bytes:
    return _POSITIONS + f"{view}\0{feed}".encode()


def _names(transaction: Any) -> list[str]:
    return [key[len(_VIEWS) :].decode() for key, _ in _under(transaction.cursor(), _VIEWS)]


def _under(cursor: Any, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """All entries of the file whose key starts with a prefix."""
    if cursor.set_range(prefix):
        for key, value in cursor:
            if not key.startswith(prefix):
                return
            yield key, value


class LmdbOnline:
    """The online store in one folder.

    Args:
        path: The folder; made when absent.
        map_size: Bytes of address space at first; it doubles when the content no longer fits.
    """

    def __init__(self, path: Path, *, map_size: int = FIRST_MAP) -> None:
        self._path, self._map_size = path, map_size
        self._pid = os.getpid()
        self._environment = acquire(path, map_size)
        self._closed = False

    def read(self) -> LmdbReader:
        return LmdbReader(self._env)

    def declare(self, view: str, *, width: int | None) -> None:
        check_width(view, width)
        self._env.write(lambda transaction: _declare(transaction, view, -1 if width is None else width))

    def append(self, view: str, entries: Entries, *, positions: Mapping[str, int] | None = None) -> int:
        return self._env.write(lambda transaction: Appending(transaction, view).run(entries, positions or {}))

    def trim(self, view: str, before: int) -> int:
        return self._env.write(lambda transaction: _trim(transaction, view, before))

    def drop(self, view: str) -> None:
        self._env.write(lambda transaction: _drop(transaction, view))

    def close(self) -> None:
        if not self._closed and self._pid == os.getpid():
            release(self._environment)
        self._closed = True

    @property
    def _env(self) -> Environment:
        if self._pid != os.getpid():  # after a fork: the parent's environment must not be touched here
            self._environment, self._pid = acquire(self._path, self._map_size), os.getpid()
        return self._environment


def _declare(transaction: Any, name: str, width: int) -> None:
    raw = transaction.get(_VIEWS + name.encode())
    if raw is None:
        number = int.from_bytes(transaction.get(_NEXT, b"\1"), "little")
        transaction.put(_NEXT, (number + 1).to_bytes(4, "little"))
        transaction.put(_VIEWS + name.encode(), _VIEW.pack(number, width, 0, _NONE))
    elif View(*_VIEW.unpack(raw)).width != width:
        raise other_width(name, _VIEW.unpack(raw)[1], width)


def _drop(transaction: Any, name: str) -> None:
    raw = transaction.pop(_VIEWS + name.encode())
    if raw is not None:
        for start in (View(*_VIEW.unpack(raw)).prefix, _feed(name, "")):
            _delete_under(transaction, start)


def _delete_under(transaction: Any, prefix: bytes) -> None:
    cursor = transaction.cursor()
    found = cursor.set_range(prefix)
    while found and cursor.key().startswith(prefix):
        found = cursor.delete()


class Appending:
    """One append, within its transaction."""

    def __init__(self, transaction: Any, view: str) -> None:
        self._transaction, self._name = transaction, view
        self._cursor = transaction.cursor()
        self._view = _view(transaction, view)
        self._layout = self._view.layout

    def run(self, entries: Entries, positions: Mapping[str, int]) -> int:
        prefix = self._view.prefix
        for feed, position in positions.items():
            raw = position.to_bytes(8, "little", signed=True)
            self._transaction.put(_feed(self._name, feed), raw)
        if not len(entries.times):
            return 0
        block, groups, places = self._arranged(entries)
        empty = not (self._cursor.set_range(prefix) and self._cursor.key().startswith(prefix))
        added = self._load(block, groups, places) if empty else self._merge(block, groups, places)
        newest = max(self._view.newest, int(entries.times[:, 0].max()))
        changed = self._view._replace(rows=self._view.rows + added, newest=newest)
        self._transaction.put(_VIEWS + self._name.encode(), _VIEW.pack(*changed))
        return added

    def _arranged(self, entries: Entries) -> tuple[Block, NDArray[np.int64], list[bytes]]:
        """The records in the order of the file, the number of each one's key, and the keys as the file has them."""
        prefix = self._view.prefix
        places = [prefix + _framed(key) for key in entries.keys]
        order = sorted(range(len(places)), key=places.__getitem__)
        rank = np.empty(len(places), np.int64)
        rank[order] = np.arange(len(places))
        groups = np.repeat(rank, np.diff(entries.starts))
        block, groups = chunks.ordered(self._layout.block(entries), groups)
        return block, groups, [places[index] for index in order]

    def _load(self, block: Block, groups: NDArray[np.int64], places: list[bytes]) -> int:
        """Fill an empty view."""
        heads = chunks.full_heads(self._layout.sizes(block), groups)
        begins = heads[:-1]
        times = _inverted(block.words[begins, : chunks.TIME_WORDS])
        owners = groups[begins].tolist()
        keys = [places[owner] + times[TIMES.size * i : TIMES.size * (i + 1)] for i, owner in enumerate(owners)]
        values = list(self._layout.encode(block, heads.tolist()))
        items = list(zip(keys, values, strict=True))
        if len(keys) > len(places):  # some key has several chunks: its newest comes first in the file
            items.sort()
        at_end = not self._cursor.last() or self._cursor.key() < items[0][0]
        _, put = self._cursor.putmulti(items, append=at_end)
        if put != len(items):
            raise AssertionError("unreachable: chunks out of order")
        return len(groups)

    def _merge(self, block: Block, groups: NDArray[np.int64], places: list[bytes]) -> int:
        starts = [*np.flatnonzero(np.diff(groups, prepend=-1)).tolist(), len(groups)]
        added = 0
        for low, high in pairwise(starts):
            added += self._merge_key(places[int(groups[low])], chunks.cut(block, low, high))
        return added

    def _merge_key(self, place: bytes, block: Block) -> int:
        """Add the ordered records of one key, newest first, chunk by chunk; returns how many were new."""
        times = list(map(tuple, block.words[:, : chunks.TIME_WORDS].tolist()))
        high, added = len(times), 0
        while high:
            found = self._chunk_at(place, block.words[high - 1 : high, : chunks.TIME_WORDS])
            if found is None:
                self._put(place, chunks.cut(block, 0, high), fill=True)
                return added + high
            key, value = found
            old = self._layout.decode([value])
            low = bisect.bisect_left(times, tuple(old.words[0, : chunks.TIME_WORDS].tolist()), 0, high)
            if low == high:  # all that is left is older than the oldest chunk
                low = 0
            added += self._merge_chunk(place, key, old, chunks.cut(block, low, high))
            high = low
        return added

    def _chunk_at(self, place: bytes, time: NDArray[np.int64]) -> tuple[bytes, bytes] | None:
        """The chunk of a key a record belongs to: the last that begins at or before it, else the oldest."""
        cursor = self._cursor
        found = cursor.set_range(place + _inverted(time))
        if not (found and cursor.key().startswith(place)):
            found = cursor.prev() if found else cursor.last()
            if not (found and cursor.key().startswith(place)):
                return None
        item: tuple[bytes, bytes] = cursor.item()
        return item

    def _merge_chunk(self, place: bytes, key: bytes, old: Block, new: Block) -> int:
        at_end = tuple(old.words[-1, : chunks.TIME_WORDS].tolist()) < tuple(new.words[0, : chunks.TIME_WORDS].tolist())
        both = chunks.join(old, new) if at_end else chunks.merged(old, new)
        added = len(both.words) - len(old.words)
        if added:
            if not at_end:
                self._transaction.delete(key)
            self._put(place, both, fill=at_end)
        return added

    def _put(self, place: bytes, block: Block, *, fill: bool) -> None:
        sizes = self._layout.sizes(block)
        heads = chunks.full_heads(sizes, np.zeros(len(sizes), np.int64)).tolist() if fill else chunks.even_heads(sizes)
        times = _inverted(block.words[heads[:-1], : chunks.TIME_WORDS])
        for index, value in enumerate(self._layout.encode(block, heads)):
            self._cursor.put(place + times[TIMES.size * index : TIMES.size * (index + 1)], value)


def _trim(transaction: Any, name: str, before: int) -> int:
    """Walk the chunks of a view; a key's first chunk is its newest."""
    view = _view(transaction, name)
    gone, previous = 0, b""
    work = []
    for key, value in _under(transaction.cursor(), view.prefix):
        place = key[: -TIMES.size]
        keep = 1 if place != previous else 0
        previous = place
        block = view.layout.decode([value])
        old = min(int(np.searchsorted(block.words[:, 0], before)), len(block.words) - keep)
        if old:
            gone += old
            work.append((key, place, chunks.cut(block, old, len(block.words))))
    for key, place, rest in work:
        transaction.delete(key)
        if len(rest.words):
            new = place + _inverted(rest.words[:1, : chunks.TIME_WORDS])
            transaction.put(new, next(view.layout.encode(rest, [0, len(rest.words)])))
    transaction.put(_VIEWS + name.encode(), _VIEW.pack(*view._replace(rows=view.rows - gone)))
    return gone
