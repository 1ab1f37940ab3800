"""Changes of a view's chunks in the LMDB file, within a transaction."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.stores.online import chunks
from tidemill.stores.online.lmdb_views import View, framed, inverted, put_view, under, view_of
from tidemill.stores.online.protocol import TIMES, Block

Ints = NDArray[np.int64]


class Arranged:
    """Records in the order of the file.

    Args:
        view: Whose they are.
        keys: Every key once.
        owners: The place of each record's key among the keys.
        block: The records, in any order.
    """

    def __init__(self, view: View, keys: Sequence[bytes], owners: Ints, block: Block) -> None:
        places = [view.prefix + framed(key) for key in keys]
        order = sorted(range(len(places)), key=places.__getitem__)
        rank = np.empty(len(places), np.int64)
        rank[order] = np.arange(len(places))
        self.block, self.groups = chunks.ordered(block, rank[owners])
        self.places = [places[index] for index in order]


class Chunks:
    """The chunks of one view."""

    def __init__(self, transaction: Any, view: View) -> None:
        self._transaction, self._layout, self._prefix = transaction, view.layout, view.prefix
        self._cursor = transaction.cursor()

    def add(self, arranged: Arranged) -> int:
        """Add records; returns how many were new."""
        empty = not (self._cursor.set_range(self._prefix) and self._cursor.key().startswith(self._prefix))
        return self._fill(arranged) if empty else self._merge(arranged)

    def _fill(self, arranged: Arranged) -> int:
        """Fill an empty view."""
        block, groups, places = arranged.block, arranged.groups, arranged.places
        heads = chunks.full_heads(self._layout.sizes(block), groups)
        begins = heads[:-1]
        times = inverted(block.words[begins, : chunks.TIME_WORDS])
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

    def _merge(self, arranged: Arranged) -> int:
        groups, words = arranged.groups, arranged.block.words
        starts = np.flatnonzero(np.diff(groups, prepend=-1))
        owners, first = groups[starts].tolist(), list(map(tuple, words[starts, : chunks.TIME_WORDS].tolist()))
        added = 0
        for place, times, (low, high) in zip(owners, first, pairwise([*starts.tolist(), len(groups)]), strict=True):
            block = chunks.cut(arranged.block, low, high)
            added += self._lengthen(arranged.places[place], times, block) or self._merge_key(
                arranged.places[place], block
            )
        return added

    def _lengthen(self, place: bytes, first: tuple[int, ...], block: Block) -> int:
        """Put records behind those of the newest chunk; 0 when they do not come after them, or it is not that simple."""
        cursor = self._cursor
        key, value = cursor.item() if cursor.set_range(place) else (b"", b"")
        if not key.startswith(place):
            value = b""
        elif TIMES.unpack_from(self._layout.last(value)) >= first:
            return 0
        lengthened = self._layout.lengthened(value, block)
        for head, chunk in lengthened or ():
            cursor.put(key if head < 0 else place + inverted(block.words[head : head + 1, : chunks.TIME_WORDS]), chunk)
        return len(block.words) if lengthened else 0

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

    def _chunk_at(self, place: bytes, time: Ints) -> tuple[bytes, bytes] | None:
        """The chunk of a key a record belongs to: the last that begins at or before it, else the oldest."""
        cursor = self._cursor
        found = cursor.set_range(place + inverted(time))
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
        times = inverted(block.words[heads[:-1], : chunks.TIME_WORDS])
        for index, value in enumerate(self._layout.encode(block, heads)):
            self._cursor.put(place + times[TIMES.size * index : TIMES.size * (index + 1)], value)


def trim(transaction: Any, name: str, before: int) -> int:
    """Walk the chunks of a view, and forget its records before a time but the newest of each key."""
    view = view_of(transaction, name)
    gone, previous = 0, b""
    work = []
    for key, value in under(transaction.cursor(), view.prefix):
        place = key[: -TIMES.size]
        keep = 1 if place != previous else 0  # a key's first chunk is its newest
        previous = place
        block = view.layout.decode([value])
        old = min(int(np.searchsorted(block.words[:, 0], before)), len(block.words) - keep)
        if old:
            gone += old
            work.append((key, place, chunks.cut(block, old, len(block.words))))
    for key, place, rest in work:
        transaction.delete(key)
        if len(rest.words):
            new = place + inverted(rest.words[:1, : chunks.TIME_WORDS])
            transaction.put(new, next(view.layout.encode(rest, [0, len(rest.words)])))
    put_view(transaction, name, replace(view, rows=view.rows - gone, changes=view.changes + 1))
    return gone
