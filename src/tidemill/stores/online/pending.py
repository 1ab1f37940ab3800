"""Writes that wait for a server: a durable log, from which they are carried out in order."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np

from tidemill.core.errors import Conflict, InvalidData, NotFound
from tidemill.stores.locks import FileLock
from tidemill.stores.online.protocol import Entries, OnlineStore
from tidemill.stores.streams.segments import FileStreams

_ALL = "all"
"""The partition: every process of the home appends to one, so that there is one order."""


class Declared(NamedTuple):
    """A call of `declare`."""

    view: str
    width: int | None

    @property
    def assumed(self) -> int:
        """What is returned for a write that waits."""
        return 0

    def run(self, store: OnlineStore) -> int:
        """Carry the write out."""
        store.declare(self.view, width=self.width)
        return 0


class Appended(NamedTuple):
    """A call of `append`."""

    view: str
    entries: Entries
    positions: dict[str, int]

    @property
    def assumed(self) -> int:
        """All records."""
        return len(self.entries.times)

    def run(self, store: OnlineStore) -> int:
        return store.append(self.view, self.entries, positions=self.positions)


class Trimmed(NamedTuple):
    """A call of `trim`."""

    view: str
    before: int

    @property
    def assumed(self) -> int:
        return 0

    def run(self, store: OnlineStore) -> int:
        return store.trim(self.view, self.before)


class Dropped(NamedTuple):
    """A call of `drop`."""

    view: str

    @property
    def assumed(self) -> int:
        return 0

    def run(self, store: OnlineStore) -> int:
        store.drop(self.view)
        return 0


Write: TypeAlias = Declared | Appended | Trimmed | Dropped


class Record(msgspec.Struct, frozen=True, tag=True):
    """Records and positions as they are in the log: arrays as bytes, and the width of the payloads if they have one."""

    view: str
    keys: list[bytes]
    starts: bytes
    times: bytes
    payloads: bytes | list[bytes]
    width: int | None
    positions: dict[str, int]


class Order(msgspec.Struct, frozen=True, tag=True):
    """Any other write as it is in the log."""

    kind: str
    view: str
    value: int | None = None


_KINDS: dict[str, Callable[[str, Any], Write]] = {
    "declare": Declared,
    "trim": Trimmed,
    "drop": lambda view, _: Dropped(view),
}


def dump(write: Write) -> bytes:
    """A write as bytes."""
    if isinstance(write, Appended):
        entries, payloads = write.entries, write.entries.payloads
        message: Record | Order = Record(
            write.view, list(entries.keys), entries.starts.astype(np.int64).tobytes(), entries.times.tobytes(),
            payloads.tobytes() if isinstance(payloads, np.ndarray) else list(payloads),
            payloads.shape[1] if isinstance(payloads, np.ndarray) else None, write.positions,
        )  # fmt: skip
    elif isinstance(write, Declared):
        message = Order("declare", write.view, write.width)
    else:
        message = Order("trim", write.view, write.before) if isinstance(write, Trimmed) else Order("drop", write.view)
    return msgspec.msgpack.encode(message)


def load(raw: bytes) -> Write:
    """The write that `dump` made bytes of."""
    message: Record | Order = msgspec.msgpack.decode(raw, type=Record | Order)
    if isinstance(message, Order):
        return _KINDS[message.kind](message.view, message.value)
    times = np.frombuffer(message.times, np.int64).reshape(-1, 3)
    payloads: Any = message.payloads
    if message.width is not None:
        payloads = np.frombuffer(payloads, np.uint8).reshape(len(times), message.width)
    entries = Entries(message.keys, np.frombuffer(message.starts, np.int64), times, payloads)
    return Appended(message.view, entries, message.positions)


class Pending:
    """The writes for one server that were acknowledged and not carried out yet.

    Any number of processes of one home add; one at a time carries out. A write may be carried out twice when a process dies
    between doing it and noting so, which changes nothing: a record is identified by its times.

    Args:
        folder: Where the log is; made by the first write.
        server: A name for the server.
    """

    def __init__(self, folder: Path, server: str) -> None:
        self._folder, self._server = folder, server
        self._log = FileStreams(folder)
        self._done = folder / f"{server}.done"
        self._lock: FileLock | None = None

    def __len__(self) -> int:
        if not (self._folder / self._server).is_dir():
            return 0
        return self._log.end(self._server, _ALL) - self._begin()

    def add(self, write: Write) -> None:
        """Keep a write; it survives the death of the process when this returns."""
        self._log.append(self._server, _ALL, [dump(write)])

    def carry_out(self, store: OnlineStore) -> None:
        """Do what is kept, oldest first; whatever the store raises leaves that write and the ones after it kept.

        A write that can never be done, such as one to a view that somebody dropped meanwhile, is put aside with its reason.
        """
        if self._lock is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self._folder / f"{self._server}.lock")
        with self._lock:
            while messages := self._log.read(self._server, _ALL, self._begin(), 20):
                for message in messages:
                    self._do(message.payload, store)
                    self._note(message.offset + 1)
            self._log.trim(self._server, _ALL, self._begin())

    def refused(self) -> int:
        """How many writes were put aside."""
        folder = self._folder / f"{self._server}-refused"
        return self._log.end(folder.name, _ALL) if folder.is_dir() else 0

    def close(self) -> None:
        self._log.close()
        if self._lock is not None:
            self._lock.close()

    def _do(self, payload: bytes, store: OnlineStore) -> None:
        try:
            load(payload).run(store)
        except (NotFound, Conflict, InvalidData) as error:
            reason = msgspec.msgpack.encode({"reason": str(error), "write": msgspec.Raw(payload)})
            self._log.append(f"{self._server}-refused", _ALL, [reason])

    def _begin(self) -> int:
        """The first that was not carried out."""
        try:
            return int(self._done.read_text(encoding="ascii"))
        except FileNotFoundError:
            return 0

    def _note(self, offset: int) -> None:
        beside = self._done.with_suffix(".new")
        beside.write_text(str(offset), encoding="ascii")
        os.replace(beside, self._done)
