"""The online store: all versions of what a view knows of a key, ordered by time, for reads in microseconds.

A record is one row of a view: 24 bytes of times (event time, known time, ingest sequence; little-endian int64), then the
payload. Keys and payloads are opaque bytes that the features room encodes. Records of a key are ordered by their three
times, which also identify them: appending a record again changes nothing. Within a view all payloads may have one fixed
width, so that a range of time is one matrix of 64-bit words.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeVar, overload

from tidemill.core.errors import Conflict, InvalidArgument

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

TIMES = struct.Struct("<qqq")
"""The start of a record: event time and known time in microseconds, ingest sequence."""

NEVER_KNOWN = -(2**63)
"""Known time of a row that never became known: it sorts first, and no `known` read sees it."""

Times: TypeAlias = "NDArray[np.int64]"
"""One row per record: event time, known time, sequence."""


@dataclass(frozen=True)
class Entries:
    """Records to append, grouped by key.

    Args:
        keys: Every key once.
        starts: One more than there are keys: the records of `keys[i]` are `starts[i]` to `starts[i + 1]`, in any order.
        times: Shape (records, 3): event time, known time, sequence.
        payloads: Shape (records, width) of bytes in a view of fixed width, else a sequence of bytes.
    """

    keys: Sequence[bytes]
    starts: NDArray[np.int64]
    times: Times
    payloads: NDArray[np.uint8] | Sequence[bytes]


class Entry(NamedTuple):
    """One record to append to a view of fixed width."""

    key: bytes
    record: bytes
    """Its times, then the payload."""

    def entries(self) -> Entries:
        """The same as entries."""
        import numpy as np

        record = np.frombuffer(self.record, np.uint8).reshape(1, -1)
        times = np.frombuffer(self.record, np.int64, TIMES.size // 8).reshape(1, -1)
        return Entries([self.key], np.array([0, 1]), times, record[:, TIMES.size :])


class Block(NamedTuple):
    """The records of one key in a range of time, in order."""

    words: NDArray[np.int64]
    """Shape (records, 3 + width / 8): the times, then the payload of a view of fixed width as words."""
    payloads: Sequence[bytes] = ()
    """The payloads of a view of any width."""


class Blocks(Sequence[Block]):
    """The records of several keys, each in order, one key after the other in one block.

    Args:
        block: All records.
        starts: One more than there are keys: the records of the i-th are `starts[i]` to `starts[i + 1]`.
    """

    def __init__(self, block: Block, starts: NDArray[np.int64]) -> None:
        self.block, self.starts = block, starts

    def __len__(self) -> int:
        return len(self.starts) - 1

    @overload
    def __getitem__(self, index: int) -> Block: ...

    @overload
    def __getitem__(self, index: slice) -> list[Block]: ...

    def __getitem__(self, index: int | slice) -> Block | list[Block]:
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        place = range(len(self))[index]
        low, high = self.starts[place : place + 2].tolist()
        return Block(self.block.words[low:high], self.block.payloads[low:high])


class ViewStats(NamedTuple):
    """What is in a view."""

    rows: int
    newest: int | None
    """The greatest event time ever appended; None before the first."""


class Latest(NamedTuple):
    """The question `OnlineReader.latest` answers."""

    view: str
    keys: Sequence[bytes | None]
    at: Sequence[int]
    known: bool = False

    def ask(self, reader: OnlineReader) -> list[bytes | None]:
        return reader.latest(self.view, self.keys, self.at, known=self.known)


class Range(NamedTuple):
    """The question `OnlineReader.range` answers."""

    view: str
    keys: Sequence[bytes | None]
    start: Sequence[int]
    end: Sequence[int]

    def ask(self, reader: OnlineReader) -> Sequence[Block]:
        return reader.range(self.view, self.keys, self.start, self.end)


class Position(NamedTuple):
    """The question `OnlineReader.position` answers."""

    view: str
    feed: str

    def ask(self, reader: OnlineReader) -> int | None:
        return reader.position(self.view, self.feed)


class Stats(NamedTuple):
    """The question `OnlineReader.stats` answers."""

    view: str

    def ask(self, reader: OnlineReader) -> ViewStats:
        return reader.stats(self.view)


Question: TypeAlias = Latest | Range | Position | Stats


class OnlineReader(Protocol):
    """Reads of one consistent moment, used by one thread for a short time.

    In a store without snapshots (Redis) every call is one moment of its own: what belongs together goes into one `answer`.
    """

    @property
    def unchanged(self) -> object | None:
        """The same object for as long as no position is set and no view comes or goes; None where that cannot be told."""
        ...

    def answer(self, questions: Sequence[Question]) -> list[Any]:
        """The answers to several questions, at one moment and, from a server, in one round trip.

        Raises:
            NotFound: A question names a view that is not there.
        """
        ...

    def latest(
        self, view: str, keys: Sequence[bytes | None], at: Sequence[int], *, known: bool = False
    ) -> list[bytes | None]:
        """For each key the record with the greatest times whose event time is at or before `at`.

        Args:
            view: A declared view.
            keys: The keys; None matches nothing.
            at: A time for each key, microseconds.
            known: Only records whose known time is at or before `at`.

        Raises:
            NotFound: No such view.
        """
        ...

    def range(
        self, view: str, keys: Sequence[bytes | None], start: Sequence[int], end: Sequence[int]
    ) -> Sequence[Block]:
        """For each key the records with start <= event time < end."""
        ...

    def position(self, view: str, feed: str) -> int | None:
        """The position last committed for a feed of a view."""
        ...

    def stats(self, view: str) -> ViewStats: ...

    def views(self) -> list[str]: ...


class OnlineStore(Protocol):
    """Crash-safe: what `append` returned from survives the death of the process, whole or not at all.

    Any number of reading threads and processes beside one writing at a time (others wait). Usable after a fork. A block of
    `read` must not hold a write of the same thread.
    """

    def read(self) -> AbstractContextManager[OnlineReader]: ...

    def declare(self, view: str, *, width: int | None) -> None:
        """Make a view known: every payload has `width` bytes (a multiple of 8), or any length when None. Again: no effect.

        Raises:
            Conflict: The view exists with another width; drop it first.
        """
        ...

    def append(self, view: str, entries: Entries, *, positions: Mapping[str, int] | None = None) -> int:
        """Add records and set positions of feeds in one transaction; returns how many records were new.

        Raises:
            NotFound: No such view.
            InvalidData: Payloads do not fit the view.
            StorageFull: No room; nothing was changed.
        """
        ...

    def exchange(self, view: str, entry: Entry, ask: Callable[[OnlineReader], T]) -> tuple[bool, T]:
        """Append one record, then ask as of the moment after it; in a store with snapshots nothing comes between.

        Args:
            view: A view of fixed width.
            entry: The record; it stays when `ask` fails.
            ask: Reads, quickly, and writes nothing.

        Returns:
            Whether the record was new, and what `ask` returned.

        Raises:
            NotFound: No such view.
            InvalidData: The record does not fit the view.
            StorageFull: No room; nothing was changed.
        """
        ...

    def trim(self, view: str, before: int) -> int:
        """Forget records with event time before `before`, but keep each key's newest; returns how many went."""
        ...

    def drop(self, view: str) -> None:
        """Forget a view with its records and positions; no effect when there is none."""
        ...

    def close(self) -> None: ...


class ReaderOfQuestions(ABC):
    """An `OnlineReader` that answers questions together: what is asked alone is one of them."""

    @abstractmethod
    def answer(self, questions: Sequence[Question]) -> list[Any]: ...

    def latest(
        self, view: str, keys: Sequence[bytes | None], at: Sequence[int], *, known: bool = False
    ) -> list[bytes | None]:
        found: list[bytes | None] = self.answer([Latest(view, keys, at, known)])[0]
        return found

    def range(
        self, view: str, keys: Sequence[bytes | None], start: Sequence[int], end: Sequence[int]
    ) -> Sequence[Block]:
        found: Sequence[Block] = self.answer([Range(view, keys, start, end)])[0]
        return found

    def position(self, view: str, feed: str) -> int | None:
        found: int | None = self.answer([Position(view, feed)])[0]
        return found

    def stats(self, view: str) -> ViewStats:
        found: ViewStats = self.answer([Stats(view)])[0]
        return found


def check_width(view: str, width: int | None) -> None:
    """Refuse payloads that are not whole words.

    Raises:
        InvalidArgument: The width is not a multiple of 8.
    """
    if width is not None and (width < 0 or width % 8):
        raise InvalidArgument(f"records of view {view!r} have {width} bytes", expected="a multiple of 8, or None")


def other_width(view: str, found: int | None, width: int | None) -> Conflict:
    """The error for a view that is declared again with another width."""
    return Conflict(f"view {view!r} exists with records of width {found}, not {width}", hint="Drop it first")


def append_then_ask(store: OnlineStore, view: str, entry: Entry, ask: Callable[[OnlineReader], T]) -> tuple[bool, T]:
    """`OnlineStore.exchange` in two steps."""
    added = store.append(view, entry.entries())
    with store.read() as reader:
        return added > 0, ask(reader)


Opener = Callable[[str, Path], OnlineStore]
"""Opens the store of a URL, with a home folder for embedded ones."""
