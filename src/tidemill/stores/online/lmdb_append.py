"""How records get into the embedded store: into the log when there are few, else into chunks, as do those of a full log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from tidemill.stores.online import chunks
from tidemill.stores.online.hot import NOWHERE, Hot, Ints
from tidemill.stores.online.lmdb_chunks import Arranged, Chunks
from tidemill.stores.online.lmdb_views import (
    View,
    by_number,
    chunks_from,
    framed,
    put_position,
    put_state,
    put_view,
    view_of,
)
from tidemill.stores.online.log import Appended, encode, encode_one
from tidemill.stores.online.protocol import TIMES, Entries, Entry
from tidemill.stores.online.tail import Tail, Unmerged

SMALL = 4_096
"""Appends of more records go into the chunks at once."""
SMALL_BYTES = 1 << 20


def is_small(entries: Entries) -> bool:
    """Whether entries go into the log."""
    payloads = entries.payloads
    size = payloads.nbytes if isinstance(payloads, np.ndarray) else sum(map(len, payloads))
    return len(entries.times) <= SMALL and size <= SMALL_BYTES


def append_to_log(
    transaction: Any, tail: Tail, name: str, entries: Entries, positions: Mapping[str, int], full: int
) -> int | None:
    """Append what is new of some entries.

    Args:
        transaction: That nobody else writes beside; nothing is changed in it.
        tail: The log.
        name: The view.
        entries: The records.
        positions: Set with them.
        full: Bytes of a log to which nothing is appended.

    Returns:
        How many were new; None when the log has to be merged first.
    """
    with tail.lock:
        log = tail.learn(transaction)
        if tail.is_damaged or tail.length > full:
            return None
        view = tail.file(transaction).view(transaction, name)
        try:
            block = _new_records(tail.hot(view), transaction, view, entries, positions)
        except BaseException:
            tail.forget(view)
            raise
        if len(block.records.words) or positions:
            tail.wrote(block, log, log.append(encode(block), tail.transaction))
        return len(block.records.words)


def append_one(transaction: Any, tail: Tail, name: str, entry: Entry, full: int) -> bool | None:
    """Append a record if it is new, by who holds the log's lock; see `append_to_log`.

    Returns:
        Whether it was new; None when the log has to be merged first.

    Raises:
        InvalidData: The record does not fit the view.
    """
    log = tail.learn(transaction)
    if tail.is_damaged or tail.length > full:
        return None
    view = tail.file(transaction).view(transaction, name)
    if view.width == len(entry.record) - TIMES.size:
        hot, times = tail.hot(view), TIMES.unpack_from(entry.record)
        try:
            code = loaded(hot, transaction, view, entry.key, times[0])
        except BaseException:
            tail.forget(view)
            raise
        if hot.follows(code, times):
            length = log.append(encode_one(view.number, entry), tail.transaction)
            tail.wrote_one(view.number, hot, code, entry, log, length)
            return True
    added = append_to_log(transaction, tail, name, entry.entries(), {}, full)
    return None if added is None else added > 0


def _new_records(hot: Hot, transaction: Any, view: View, entries: Entries, positions: Mapping[str, int]) -> Appended:
    """The entries that are not in the store yet, in order."""
    block = view.layout.block(entries)
    if len(block.words) == 1 == len(entries.keys):
        key, times = entries.keys[0], tuple(block.words[0, : chunks.TIME_WORDS].tolist())
        if hot.follows(loaded(hot, transaction, view, key, times[0]), times):
            return Appended(view.number, view.fixed, [key], np.ones(1, np.int64), block, positions)
    keys, counts = list(entries.keys), np.diff(entries.starts)
    block, groups = chunks.ordered(block, np.repeat(np.arange(len(keys)), counts))
    keys, counts = _with_records(keys, groups)
    if len(keys):
        codes = hot.coded(keys)
        load_chunks(hot, transaction, view, keys, codes, block.words[np.cumsum(counts) - counts, 0])
        fresh = hot.fresh(codes, counts, block.words)
        if not fresh.all():
            groups = np.repeat(np.arange(len(keys)), counts)[fresh]
            block = chunks.take(block, np.flatnonzero(fresh))
            keys, counts = _with_records(keys, groups)
    return Appended(view.number, view.fixed, keys, counts, block, positions)


def _with_records(keys: Sequence[bytes], groups: Ints) -> tuple[list[bytes], Ints]:
    """The keys that have records, and how many."""
    counts = np.bincount(groups, minlength=len(keys))
    if counts.all():
        return list(keys), counts
    some = np.flatnonzero(counts)
    return [keys[place] for place in some.tolist()], counts[some]


def loaded(hot: Hot, transaction: Any, view: View, key: bytes, start: int) -> int:
    """The number of a key all of whose records at or after a time are in memory; see `load_chunks`."""
    code = hot.code(key)
    floor = hot.floor(code)
    if floor > start or floor == NOWHERE:
        values, floor = chunks_from(transaction.cursor(), view.prefix + framed(key), start)
        if values:
            block = view.layout.decode(values)
            one = np.array([code, len(block.words), floor])
            hot.load(one[:1], one[1:2], block, one[2:])
        else:
            hot.meets(code, floor)
    return code


def load_chunks(hot: Hot, transaction: Any, view: View, keys: Sequence[bytes], codes: Ints, starts: Ints) -> None:
    """Bring into memory what chunks have of keys at or after some times.

    Args:
        hot: The records in memory.
        transaction: Of the LMDB file.
        view: The view.
        keys: Keys; one may come several times.
        codes: Their numbers in memory.
        starts: An event time for each.
    """
    missing = np.flatnonzero(hot.below(codes, starts)).tolist()
    if not missing:
        return
    wanted: dict[int, tuple[bytes, int]] = {}
    for place, code, start in zip(missing, codes[missing].tolist(), starts[missing].tolist(), strict=True):
        wanted[code] = keys[place], min(start, wanted.get(code, (b"", start))[1])
    cursor, values = transaction.cursor(), list[bytes]()
    counts, floors = [], []
    for key, start in wanted.values():
        found, floor = chunks_from(cursor, view.prefix + framed(key), start)
        counts.append(sum(map(view.layout.count, found)))
        floors.append(floor)
        values += found
    found_floors = np.array(floors, np.int64)
    block = view.layout.decode(values)
    hot.load(np.array(list(wanted), np.int64), np.array(counts, np.int64), block, found_floors)


def add_directly(transaction: Any, tail: Tail, name: str, entries: Entries, positions: Mapping[str, int]) -> int:
    """Add entries to the chunks; returns how many were new."""
    view = view_of(transaction, name)
    if tail.has(transaction, view):
        merge(transaction, tail)
        view = view_of(transaction, name)
    for feed, position in positions.items():
        put_position(transaction, name, feed, position)
    if not len(entries.times):
        return 0
    owners = np.repeat(np.arange(len(entries.keys)), np.diff(entries.starts))
    arranged = Arranged(view, entries.keys, owners, view.layout.block(entries))
    added = Chunks(transaction, view).add(arranged)
    newest = max(view.newest, int(entries.times[:, 0].max()))
    put_view(transaction, name, replace(view, rows=view.rows + added, newest=newest, changes=view.changes + 1))
    return added


def merge(transaction: Any, tail: Tail) -> None:
    """Move all records of the log into the chunks, and begin a new log."""
    with tail.lock:
        tail.learn(transaction)
        number, unmerged_views = tail.number, tail.views.copy()
    views = by_number(transaction)
    for known, unmerged in unmerged_views.items():  # nobody adds to them while this transaction writes
        if known in views:  # else it was dropped
            name, view = views[known]
            for feed, position in unmerged.positions.items():
                put_position(transaction, name, feed, position)
            if unmerged.rows:
                _merge_view(transaction, name, view, unmerged)
    tail.create(number + 1)
    put_state(transaction, number + 1)
    # A power failure may take the newest transaction, and with it the number of the log: the one before is kept for that.
    with suppress(FileNotFoundError):
        tail.path(number - 2).unlink()


def _merge_view(transaction: Any, name: str, view: View, unmerged: Unmerged) -> None:
    added = Chunks(transaction, view).add(Arranged(view, *unmerged.records()))
    newest = max(view.newest, unmerged.newest)
    put_view(transaction, name, replace(view, rows=view.rows + added, newest=newest))
