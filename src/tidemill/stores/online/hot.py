"""Records of one view in memory: those of the log, and those read from chunks since.

Every key has a stretch of one matrix, with room to grow, so that questions about a thousand keys are a few steps of NumPy. A
key knows from which event time on all its records are here (its floor); older ones are in chunks, except those of the log,
which are all here. Equal keys and times come only once. Not for several threads at once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.stores.online import chunks
from tidemill.stores.online.protocol import NEVER_KNOWN, Block, Blocks, Times

Ints = NDArray[np.int64]

NOWHERE = 2**63 - 1
"""The floor of a key whose chunks were not read."""
EVERYTHING = -(2**63)
"""The floor of a key whose chunks were all read."""
_LEAST_ROOM = 8


class Hot:
    """The records of one view.

    Args:
        width: Bytes of each payload; None when they differ.
        changes: Which state of the view's chunks they belong to.
    """

    def __init__(self, width: int | None, changes: int) -> None:
        self.changes = changes
        self.codes: dict[bytes, int] = {}
        self._place, self._count, self._room = np.zeros((3, 64), np.int64)
        self._floor = np.full(64, NOWHERE)
        self._hold(np.empty((chunks.TIME_WORDS + (width or 0) // 8, 1024), np.int64))
        self._payloads: NDArray[np.object_] | None = np.empty(1024, object) if width is None else None
        self._used = 0

    def _hold(self, words: NDArray[np.int64]) -> None:
        self._words = words
        self._events = memoryview(words[0])  # one value of it costs a fraction of one of the array's

    def __len__(self) -> int:
        """How much memory it takes, counted in records."""
        return self._used + len(self.codes)

    # -- keys --------------------------------------------------------------------------------------

    def coded(self, keys: Sequence[bytes]) -> Ints:
        """The numbers of keys, which are added when they are new."""
        found = list(map(self.codes.get, keys))
        if None in found:
            for place, key in enumerate(keys):
                if found[place] is None:
                    found[place] = self.codes.setdefault(key, len(self.codes))
            self._make_room(len(self.codes))
        return np.array(found, np.int64)

    def code(self, key: bytes) -> int:
        """The number of a key, which is added when it is new."""
        found = self.codes.get(key)
        if found is None:
            found = self.codes[key] = len(self.codes)
            self._make_room(found + 1)
        return found

    def _make_room(self, keys: int) -> None:
        have = len(self._place)
        if keys > have:
            more = max(keys, 2 * have) - have
            self._place, self._count, self._room = (
                np.append(one, np.zeros(more, np.int64)) for one in (self._place, self._count, self._room)
            )
            self._floor = np.append(self._floor, np.full(more, NOWHERE))

    def below(self, codes: Ints, start: Ints) -> NDArray[np.bool_]:
        """Which keys may have records at or after a time that are not here."""
        floors = self._floor[codes]
        missing: NDArray[np.bool_] = (floors > start) | (floors == NOWHERE)
        return missing

    def meets(self, code: int, floor: int) -> None:
        """Note that there are no records of a key from a time on but those that are here."""
        self._floor[code] = floor

    def floor(self, code: int) -> int:
        """The event time from which on all records of a key are here."""
        floor: int = self._floor.item(code)
        return floor

    # -- adding ------------------------------------------------------------------------------------

    def add(self, codes: Ints, counts: Ints, block: Block) -> None:
        """Take records of the log: ordered by key and times, none of them here yet."""
        first = np.cumsum(counts) - counts
        after = self._follow(codes, block.words[first])
        if after.all():
            self._extend(codes, counts, block)
            return
        late = np.repeat(~after, counts)
        self._insert(codes[~after], counts[~after], chunks.take(block, np.flatnonzero(late)))
        self._extend(codes[after], counts[after], chunks.take(block, np.flatnonzero(~late)))

    def add_one(self, code: int, words: Ints, payload: bytes | None) -> None:
        """Take one record of the log, newer than all of its key."""
        count = self._count.item(code)
        if count >= self._room.item(code):
            self._reserve_one(code, count + 1)
        place = self._place.item(code) + count
        self._words[:, place] = words
        if self._payloads is not None:
            self._payloads[place] = payload
        self._count[code] = count + 1

    def load(self, codes: Ints, counts: Ints, block: Block, floors: Ints) -> None:
        """Take records of chunks, ordered by key and times, some of which may be here; the floors are met by them."""
        empty, some = self._count[codes] == 0, counts > 0
        for keys, put in ((some & empty, self._extend), (some & ~empty, self._insert)):
            rows = np.repeat(keys, counts)
            if rows.any():
                put(codes[keys], counts[keys], block if rows.all() else chunks.take(block, np.flatnonzero(rows)))
        self._floor[codes] = floors

    def _follow(self, codes: Ints, times: Times) -> NDArray[np.bool_]:
        """Whether records come after all that is here of their keys."""
        counts = self._count[codes]
        last = self._words[: chunks.TIME_WORDS, np.maximum(self._place[codes] + counts - 1, 0)]
        after = times[:, 2] > last[2]
        for word in (1, 0):
            after = (times[:, word] > last[word]) | ((times[:, word] == last[word]) & after)
        found: NDArray[np.bool_] = after | (counts == 0)
        return found

    def follows(self, code: int, times: tuple[int, int, int]) -> bool:
        """Whether a record comes after all that is here of its key."""
        count = self._count.item(code)
        if not count:
            return True
        last = self._place.item(code) + count - 1
        event = self._events[last]
        if event == times[0]:
            return tuple(self._words[1 : chunks.TIME_WORDS, last].tolist()) < times[1:]
        return event < times[0]

    def fresh(self, codes: Ints, counts: Ints, words: Times) -> NDArray[np.bool_]:
        """Which records, ordered by key and times, are not here."""
        late = ~self._follow(codes, words[np.cumsum(counts) - counts])
        found = np.ones(len(words), bool)
        if late.any():
            rows = np.flatnonzero(np.repeat(late, counts))
            asked = words[rows, : chunks.TIME_WORDS]
            start, old = self._from(codes[late], counts[late], asked)
            here = self._words[: chunks.TIME_WORDS, _stretches(start, old)].T
            groups = np.arange(len(old))
            order = chunks.order(
                np.concatenate([here, asked]), np.append(groups.repeat(old), groups.repeat(counts[late]))
            )
            found[rows[order.again - len(here)]] = False
        return found

    def _from(self, codes: Ints, counts: Ints, words: Times) -> tuple[Ints, Ints]:
        """Where the records of keys begin that are not before the first of some others, and how many there are."""
        first, last = self._place[codes], self._place[codes] + self._count[codes]
        start = chunks.search(self._words[0], first, last, words[np.cumsum(counts) - counts, 0])
        return start, last - start

    def _extend(self, codes: Ints, counts: Ints, block: Block) -> None:
        """Write records behind those that are here."""
        if not len(codes):
            return
        self._reserve(codes, self._count[codes] + counts)
        target = _stretches(self._place[codes] + self._count[codes], counts)
        self._words[:, target] = block.words.T
        if self._payloads is not None:
            self._payloads[target] = _objects(block.payloads)
        self._count[codes] += counts

    def _insert(self, codes: Ints, counts: Ints, block: Block) -> None:
        """Put records among those that are here, unless they are."""
        start, old = self._from(codes, counts, block.words)
        index = _stretches(start, old)
        before = start - self._place[codes]
        payloads = () if self._payloads is None else self._payloads[index].tolist()
        groups = np.arange(len(codes))
        owners = np.append(groups.repeat(old), groups.repeat(counts))
        both, owners = chunks.ordered(chunks.join(Block(self._words[:, index].T, payloads), block), owners)
        counts = np.bincount(owners, minlength=len(codes))
        self._reserve(codes, before + counts)
        target = _stretches(self._place[codes] + before, counts)
        self._words[:, target] = both.words.T
        if self._payloads is not None:
            self._payloads[target] = _objects(both.payloads)
        self._count[codes] = before + counts

    def _reserve(self, codes: Ints, counts: Ints) -> None:
        """Move stretches that are too short for so many records to where there is room."""
        short = counts > self._room[codes]
        if not short.any():
            return
        moved, rooms = codes[short], np.maximum(2 * counts[short], _LEAST_ROOM)
        wanted = int(rooms.sum())
        if self._used + wanted > self._words.shape[1]:
            self._close_gaps(wanted)
        places = self._used + np.cumsum(rooms) - rooms
        held = self._count[moved]
        self._copy(_stretches(self._place[moved], held), _stretches(places, held))
        self._place[moved], self._room[moved] = places, rooms
        self._used += wanted

    def _reserve_one(self, code: int, count: int) -> None:
        if count <= self._room.item(code):
            return
        room = max(2 * count, _LEAST_ROOM)
        if self._used + room > self._words.shape[1]:
            self._close_gaps(room)
        place, held, target = self._place.item(code), self._count.item(code), self._used
        self._words[:, target : target + held] = self._words[:, place : place + held]
        if self._payloads is not None:
            self._payloads[target : target + held] = self._payloads[place : place + held]
        self._place[code], self._room[code] = target, room
        self._used += room

    def _copy(self, source: Ints, target: Ints) -> None:
        self._words[:, target] = self._words[:, source]
        if self._payloads is not None:
            self._payloads[target] = self._payloads[source]

    def _close_gaps(self, wanted: int) -> None:
        """Bring all stretches together, in an array with as much room again."""
        keys = len(self.codes)
        rooms, held = self._room[:keys], self._count[:keys]
        places = np.cumsum(rooms) - rooms
        source, target = _stretches(self._place[:keys], held), _stretches(places, held)
        used = int(rooms.sum())
        words = np.empty((len(self._words), 2 * (used + wanted)), np.int64)
        words[:, target] = self._words[:, source]
        if self._payloads is not None:
            payloads = np.empty(words.shape[1], object)
            payloads[target] = self._payloads[source]
            self._payloads = payloads
        self._hold(words)
        self._used = used
        self._place[:keys] = places

    # -- reading -----------------------------------------------------------------------------------

    def latest(self, code: int, at: int, known: bool) -> bytes | None:
        """The record with the greatest times that is here and counts at a moment."""
        place, count = self._place.item(code), self._count.item(code)
        if not count:
            return None
        last = place + count
        if self._events[last - 1] > at:
            last = bisect_right(self._events, at, place, last)
        if known:
            times = self._words[1, place:last]
            fits = np.flatnonzero((times <= at) & (times != NEVER_KNOWN))
            last = place + int(fits[-1]) + 1 if len(fits) else place
        if last == place:
            return None
        record: bytes = self._words[:, last - 1].tobytes()
        return record if self._payloads is None else record + self._payloads[last - 1]

    def one(self, code: int, low: int, high: int) -> Block:
        """The records of one key with low <= event time < high."""
        place = self._place.item(code)
        last = place + self._count.item(code)
        start = bisect_left(self._events, low, place, last)
        return self._cut(start, bisect_left(self._events, high, start, last))

    def ranges(self, codes: Ints, low: Ints, high: Ints) -> Blocks:
        """The records of keys with low <= event time < high."""
        first = self._place[codes]
        last = first + self._count[codes]
        start = chunks.search(self._words[0], first, last, low)
        counts = np.maximum(chunks.search(self._words[0], first, last, high) - start, 0)
        index = _stretches(start, counts)
        payloads = () if self._payloads is None else self._payloads[index].tolist()
        return Blocks(Block(self._words[:, index].T, payloads), np.append(0, np.cumsum(counts)))

    def _cut(self, low: int, high: int) -> Block:
        payloads = () if self._payloads is None else self._payloads[low:high].tolist()
        return Block(self._words[:, low:high].copy().T, payloads)


def _stretches(starts: Ints, counts: Ints) -> Ints:
    """The numbers from each start on, as many as its count."""
    ends = np.cumsum(counts)
    return np.repeat(starts - ends + counts, counts) + np.arange(int(ends[-1]) if len(ends) else 0)


def _objects(payloads: Sequence[Any]) -> NDArray[np.object_]:
    objects = np.empty(len(payloads), object)
    objects[:] = payloads  # an array made of them would drop zeros at their ends
    return objects
