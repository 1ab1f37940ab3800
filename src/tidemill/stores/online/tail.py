"""What this process knows of the log of an LMDB file: its blocks up to some length, and records of views in memory.

The number of the current log is kept in the LMDB file, so a read transaction says which log goes with it. A log only grows
while it is the current one, and its blocks tell after which transaction they were written: a moment is a transaction, a log,
and a length of it, and of any two moments one is the later. What is known is brought from moment to moment, never back: who
looks at an earlier moment makes a `Tail` of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tidemill.core.errors import Unavailable
from tidemill.stores.online import chunks
from tidemill.stores.online.hot import Hot, Ints
from tidemill.stores.online.lmdb_views import NONE, Known, View, log_number, names, state_of
from tidemill.stores.online.log import HEADER, Appended, Log
from tidemill.stores.online.protocol import Block, Entry

HOT_RECORDS = 1 << 21
"""With so many records in memory a view begins anew with those of the log."""
SYNC_EVERY = 1.0
"""Seconds between two waits for the disk."""


class Moment(NamedTuple):
    """What a transaction sees."""

    transaction: int
    number: int
    log: Log
    length: int


class Unmerged:
    """What the log has of a view."""

    def __init__(self) -> None:
        self.rows, self.newest = 0, NONE
        self.positions: dict[str, int] = {}
        self._blocks: list[Appended] = []
        # Blocks of one record come by the ten thousand: an object less for each is one less for the collector of garbage.
        self._keys: list[bytes] = []
        self._words: list[bytes] = []
        self._payloads: list[bytes] = []

    def take(self, block: Appended) -> None:
        """Add a block."""
        words, payloads = block.records.words, block.records.payloads
        if block.positions:
            self.positions.update(block.positions)
        self.rows += len(words)
        if len(words) == 1:
            self.newest = max(self.newest, words.item(0))
            self._keys.append(block.keys[0])
            self._words.append(words.tobytes())
            self._payloads += payloads
        elif len(words):
            self.newest = max(self.newest, int(words[:, 0].max()))
            self._blocks.append(block)

    def take_one(self, key: bytes, event: int, record: bytes) -> None:
        """Add a block of one record of fixed width."""
        self.rows += 1
        if event > self.newest:
            self.newest = event
        self._keys.append(key)
        self._words.append(record)

    def records(self) -> tuple[list[bytes], Ints, Block]:
        """The keys, for each record which of them is its, and the records; there is one at least."""
        numbers: dict[bytes, int] = {}
        owners = [numbers.setdefault(key, len(numbers)) for block in self._blocks for key in block.keys]
        counts = [block.counts for block in self._blocks]
        words = [block.records.words for block in self._blocks]
        payloads = [payload for block in self._blocks for payload in block.records.payloads]
        if self._keys:
            owners += [numbers.setdefault(key, len(numbers)) for key in self._keys]
            counts.append(np.ones(len(self._keys), np.int64))
            words.append(np.frombuffer(b"".join(self._words), np.int64).reshape(len(self._keys), -1))
        found = Block(np.concatenate(words), payloads + self._payloads)
        return list(numbers), np.repeat(np.array(owners, np.int64), np.concatenate(counts)), found


class Tail:
    """The log as this process knows it. Hold `lock` from `reach` on until the answer is there.

    Args:
        folder: Where logs are.
    """

    def __init__(self, folder: Path) -> None:
        self.lock = threading.RLock()
        self.folder = folder
        self._opened: tuple[int, Log] | None = None
        self._file: Known | None = None
        self._synced, self._flushed = time.monotonic() - SYNC_EVERY, -1
        self._forget()

    def _forget(self) -> None:
        self.number, self.length, self.transaction = -1, HEADER, -1
        self.log: Log | None = None
        self.is_damaged = False
        """Whether a block is damaged, and those after it are lost: nothing can be appended."""
        self.views: dict[int, Unmerged] = {}
        self.settled = object()
        """Another one whenever the file may have changed, or a position was set."""
        self._hot: dict[int, Hot] = {}
        self._asked: set[int] = set()  # views nobody asked for between two merges, such as dropped ones, are left out

    # -- moments -----------------------------------------------------------------------------------

    def path(self, number: int) -> Path:
        """Where a log is."""
        return self.folder / f"tail-{number}.log"

    def file(self, transaction: Any) -> Known:
        """What is known of the LMDB file as a transaction sees it, which has changed nothing. Needs no lock."""
        state, known = state_of(transaction), self._file
        if known is None or known.state != state:
            known = self._file = Known(state)
        return known

    def is_empty(self, number: int) -> bool:
        """Whether all records that belong to a log are in chunks for sure. Needs no lock."""
        opened = self._opened
        return opened is not None and opened[1].length == HEADER and number == opened[0]

    def moment(self, transaction: Any, *, absent: int | None = None) -> Moment | None:
        """The moment a transaction sees; None when it is too old to say.

        Args:
            transaction: Of the LMDB file.
            absent: The log that was not there at the attempt before.

        Raises:
            Unavailable: Its log is not there.
        """
        file = self.file(transaction)
        number, identity = file.log, file.transaction
        log = self._at(number)
        if log is None:
            if number == absent:
                raise Unavailable(
                    f"{self.path(number)} is not there, and with it the newest records of the online store",
                    hint="Put it back, or delete the folder and materialize the views again",
                )
            return None
        length, newest = log.state()
        return Moment(identity, number, log, length) if newest <= identity else None

    def _at(self, number: int) -> Log | None:
        opened = self._opened
        if opened is not None and opened[0] == number:
            return opened[1]
        try:
            log = Log(self.path(number))
        except FileNotFoundError:
            return None
        self._opened = number, log
        return log

    def create(self, number: int) -> None:
        """Begin a log."""
        Log.create(self.path(number))

    def adopt(self, transaction: Any) -> None:
        """Begin the first log, in the transaction that first writes to a file, unless a file of before has one.

        One beside a file without views is what is left of another file.
        """
        number = log_number(transaction)
        if not names(transaction) or not self.path(number).exists():
            self.create(number)

    def reach(self, moment: Moment) -> bool:
        """Learn what there is up to a moment; False when more is known already."""
        if moment.length == self.length and moment.transaction == self.transaction and moment.log is self.log:
            return True
        if moment.transaction < self.transaction or moment.number < self.number:
            return False
        if moment.number == self.number and moment.length < self.length:
            return False
        try:
            self._follow(moment)
        except BaseException:
            self._forget()  # rather than half of it
            raise
        return True

    def _follow(self, moment: Moment) -> None:
        if moment.number != self.number:
            if self.log is not None and moment.number == self.number + 1:
                self._read(self.log, self.log.length)  # it was the current one: what was in it is in chunks now
            else:
                self._hot = {}
            self.number, self.length = moment.number, HEADER
            self.views, self.is_damaged = {}, False
            self._hot = {view: self._hot[view] for view in self._asked if view in self._hot}
            self._asked.clear()
        if moment.transaction != self.transaction:
            self.settled = object()
        self.log, self.transaction = moment.log, moment.transaction
        self._read(moment.log, moment.length)

    def _read(self, log: Log, length: int) -> None:
        if length > self.length:
            found, whole = log.blocks(self.length, length)
            self.is_damaged |= not whole
            self.length = length
            for block in found:
                self._take(block)

    def wrote(self, block: Appended, log: Log, length: int) -> None:
        """Learn of a block this process appended, up to which everything was known."""
        try:
            self.log, self.length = log, length
            self._take(block)
        except BaseException:
            self._forget()
            raise

    def wrote_one(self, view: int, hot: Hot, code: int, entry: Entry, log: Log, length: int) -> None:
        """Learn of a record of fixed width this process appended, newer than all of its key, which are in memory."""
        try:
            self.log, self.length = log, length
            words = np.frombuffer(entry.record, np.int64)
            self._unmerged(view).take_one(entry.key, words.item(0), entry.record)
            hot.add_one(code, words, None)
        except BaseException:
            self._forget()
            raise

    def _take(self, block: Appended) -> None:
        self._unmerged(block.view).take(block)
        if block.positions:
            self.settled = object()
        hot = self._hot.get(block.view)
        if hot is not None:
            _add(hot, block)

    def _unmerged(self, view: int) -> Unmerged:
        unmerged = self.views.get(view)
        if unmerged is None:
            unmerged = self.views[view] = Unmerged()
        return unmerged

    def has(self, transaction: Any, view: View) -> bool:
        """Whether the log has anything of a view, in a transaction that writes."""
        with self.lock:
            self.learn(transaction)
            return view.number in self.views

    def prepare(self, transaction: Any) -> None:
        """Before a change of the LMDB file: learn of all blocks, and wait until the disk has them.

        What comes before in the log may not be lost by a power failure that leaves what comes now.
        """
        with self.lock:
            log, length = self.learn(transaction), self.length
        if length > HEADER:
            log.sync()

    def learn(self, transaction: Any) -> Log:
        """Learn of all blocks, in a transaction that writes: give the log."""
        known, log = self.file(transaction), self.log
        if log is not None and log.length == self.length and known.transaction == self.transaction:
            return log
        moment = self.moment(transaction, absent=known.log)
        if moment is None or not self.reach(moment):
            raise AssertionError("unreachable: there is nothing newer than what the only writer sees")
        return moment.log

    def settle(self, flush: Callable[[], None]) -> None:
        """After an append: wait for the disk if that was not done of late, so that a power failure takes little.

        Args:
            flush: Waits until the disk has the newest transaction of the LMDB file, and so the number of the log.
        """
        now = time.monotonic()
        log, number = self.log, self.number
        if now - self._synced > SYNC_EVERY and log is not None:
            self._synced = now
            if self._flushed != number:
                flush()
                self._flushed = number
            log.sync()

    # -- views -------------------------------------------------------------------------------------

    def held(self, view: View) -> Hot | None:
        """The records of a view in memory, some of which may not be in chunks; None when all of them are."""
        unmerged = self.views.get(view.number)
        if (unmerged is None or not unmerged.rows) and view.number not in self._hot:
            return None
        return self.hot(view)

    def hot(self, view: View) -> Hot:
        """The records of a view in memory, made of those of the log when there are none."""
        hot = self._hot.get(view.number)
        if hot is None or hot.changes != view.changes or len(hot) > HOT_RECORDS:
            self._hot.pop(view.number, None)
            hot = Hot(view.fixed, view.changes)
            unmerged = self.views.get(view.number)
            if unmerged is not None and unmerged.rows:
                keys, owners, records = unmerged.records()
                records, owners = chunks.ordered(records, owners)
                hot.add(hot.coded(keys), np.bincount(owners, minlength=len(keys)), records)
            self._hot[view.number] = hot
        self._asked.add(view.number)
        return hot

    def forget(self, view: View) -> None:
        """Begin anew with a view's records in memory, after an error that may have left half of a change."""
        self._hot.pop(view.number, None)


def _add(hot: Hot, block: Appended) -> None:
    words = block.records.words
    if len(words) == 1:
        code = hot.codes.get(block.keys[0])
        if code is not None and hot.follows(code, tuple(words[0, :3].tolist())):
            hot.add_one(code, words[0], block.records.payloads[0] if block.records.payloads else None)
            return
    if len(words):
        hot.add(hot.coded(block.keys), block.counts, block.records)
