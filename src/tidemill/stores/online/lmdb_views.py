"""What is in the LMDB file of an online store, and under which names.

Keys of the file: view number (4 bytes), length of the key (2), the key, then the times of the chunk's first record, inverted:
the newest chunk of a key comes first, and one seek to `at` finds the chunk that holds the record wanted. View number 0 holds
the descriptions of the views, positions, and the state of the file: the numbers of the transaction that wrote last, and of the
log. LMDB's own word for which transaction a reader sees may be too low: its reader takes the number first and then what the
header of the file has, which is of a later transaction when there were two commits in between.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.core.errors import FormatTooNew, unknown
from tidemill.stores.online import chunks
from tidemill.stores.online.protocol import TIMES, other_width

FORMAT = 3
"""What this program writes. A file without a format is one of before there was a log; before 3 there was no state."""

NONE = -(2**63)
_TOP = 2**63 - 1
_DESCRIPTION = struct.Struct("<IiQqQ")
_NEXT, _VIEWS, _POSITIONS, STATE, _FORMAT = (b"\0\0\0\0" + letter for letter in (b"n", b"v", b"p", b"l", b"f"))
_STATE = struct.Struct("<QQ")
"""The numbers of the log, and of the transaction that wrote last. Before format 3 it was that of the log alone."""
_LONGEST = 440
"""Longer keys are replaced by their sha256: LMDB's keys end at 511 bytes."""
seek_time = struct.Struct(">Q").pack
_head_time = struct.Struct(">Q").unpack_from
_LENGTHS = [struct.pack(">H", size) for size in range(_LONGEST + 1)]


@dataclass(frozen=True)
class View:
    """The description of a view as kept in the file."""

    number: int
    width: int
    rows: int
    newest: int
    changes: int
    """How often its chunks were changed other than by what the log had."""

    @cached_property
    def fixed(self) -> int | None:
        """Bytes of each payload; None when they differ."""
        return None if self.width < 0 else self.width

    @cached_property
    def layout(self) -> chunks.Layout:
        return chunks.layout_of(self.fixed)

    @cached_property
    def prefix(self) -> bytes:
        """How the keys of its chunks begin."""
        return self.number.to_bytes(4)


def framed(key: bytes) -> bytes:
    """The key with its length before it, so that no key is the start of another."""
    size = len(key)
    if size <= _LONGEST:
        return _LENGTHS[size] + key
    return b"\xff\xff" + hashlib.sha256(key).digest()


def inverted(times: NDArray[np.int64]) -> bytes:
    """Times as bytes that sort downwards, 24 for each row."""
    flipped = np.bitwise_xor(np.bitwise_not(times), np.int64(NONE))
    return flipped.astype(">i8").tobytes()


class Known:
    """What was looked up in a state of the file, which is what all who see that state see.

    Args:
        state: What the file says of itself; see `state_of`.
    """

    def __init__(self, state: bytes) -> None:
        self.state = state
        self.log, self.transaction = _STATE.unpack(state)
        self._views: dict[str, View] = {}
        self._positions: dict[tuple[str, str], int | None] = {}

    def view(self, transaction: Any, name: str) -> View:
        """The description of a view.

        Raises:
            NotFound: There is none.
        """
        found = self._views.get(name)
        if found is None:
            found = self._views[name] = view_of(transaction, name)
        return found

    def position(self, transaction: Any, view: str, feed: str) -> int | None:
        """A position.

        Raises:
            NotFound: There is no such view.
        """
        key = view, feed
        if key in self._positions:
            return self._positions[key]
        self.view(transaction, view)
        found = self._positions[key] = position_of(transaction, view, feed)
        return found


def view_of(transaction: Any, name: str) -> View:
    """The description of a view.

    Raises:
        NotFound: There is none.
    """
    raw = transaction.get(_VIEWS + name.encode())
    if raw is None:
        raise unknown("view in the online store", name, names(transaction), hint="Materialize it first")
    return _described(raw)


@lru_cache(1024)
def _described(raw: bytes) -> View:
    return View(*_DESCRIPTION.unpack(raw.ljust(_DESCRIPTION.size, b"\0")))  # a file of before has no count of changes


def put_view(transaction: Any, name: str, view: View) -> None:
    """Replace the description of a view."""
    transaction.put(_VIEWS + name.encode(), _DESCRIPTION.pack(*astuple(view)))


@lru_cache(1024)
def position_key(view: str, feed: str) -> bytes:
    """Where a position is kept."""
    return _POSITIONS + f"{view}\0{feed}".encode()


def position_of(transaction: Any, view: str, feed: str) -> int | None:
    """A position as the file has it."""
    raw = transaction.get(position_key(view, feed))
    return None if raw is None else int.from_bytes(raw, "little", signed=True)


def put_position(transaction: Any, view: str, feed: str, position: int) -> None:
    """Set a position."""
    transaction.put(position_key(view, feed), position.to_bytes(8, "little", signed=True))


def names(transaction: Any) -> list[str]:
    """The names of all views."""
    return [key[len(_VIEWS) :].decode() for key, _ in under(transaction.cursor(), _VIEWS)]


def by_number(transaction: Any) -> dict[int, tuple[str, View]]:
    """All views with their names."""
    found = ((key[len(_VIEWS) :].decode(), _described(raw)) for key, raw in under(transaction.cursor(), _VIEWS))
    return {view.number: (name, view) for name, view in found}


def state_of(transaction: Any) -> bytes:
    """What the file says of itself: no two commits leave the same."""
    found: bytes = transaction.get(STATE)
    return found


def put_state(transaction: Any, log: int | None = None) -> None:
    """Before a commit: write which transaction it is.

    Args:
        transaction: The one that writes.
        log: The number of the log from now on; as it was when None.
    """
    number = log_number(transaction) if log is None else log
    transaction.put(STATE, _STATE.pack(number, transaction.id()))


def log_number(transaction: Any) -> int:
    """The number of the log that goes with the file, of any format."""
    return int.from_bytes(transaction.get(STATE, b"")[:8], "little")


def is_current(transaction: Any, path: object) -> bool:
    """Whether a file has the format this program writes, and not one of before.

    Raises:
        FormatTooNew: It has one of a newer program.
    """
    found = int.from_bytes(transaction.get(_FORMAT, b"\1"), "little")
    if found > FORMAT:
        raise FormatTooNew(
            f"the online store {path} has format {found}", expected=f"at most {FORMAT}", hint="Use a newer Tidemill"
        )
    return found == FORMAT


def put_format(transaction: Any) -> None:
    """Say that a file has the format this program writes."""
    transaction.put(_FORMAT, FORMAT.to_bytes(4, "little"))


def declare(transaction: Any, name: str, width: int) -> None:
    """Make a view known.

    Raises:
        Conflict: It exists with another width.
    """
    raw = transaction.get(_VIEWS + name.encode())
    if raw is None:
        number = int.from_bytes(transaction.get(_NEXT, b"\1"), "little")
        transaction.put(_NEXT, (number + 1).to_bytes(4, "little"))
        put_view(transaction, name, View(number, width, 0, NONE, 0))
    elif _described(raw).width != width:
        raise other_width(name, _described(raw).width, width)


def drop(transaction: Any, name: str) -> None:
    """Forget a view with its chunks and positions. What the log has of it is nobody's from now on."""
    raw = transaction.pop(_VIEWS + name.encode())
    if raw is not None:
        for start in (_described(raw).prefix, position_key(name, "")):
            _delete_under(transaction, start)


def _delete_under(transaction: Any, prefix: bytes) -> None:
    cursor = transaction.cursor()
    found = cursor.set_range(prefix)
    while found and cursor.key().startswith(prefix):
        found = cursor.delete()


def under(cursor: Any, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """All entries of the file whose key starts with a prefix."""
    if cursor.set_range(prefix):
        for key, value in cursor:
            if not key.startswith(prefix):
                return
            yield key, value


def chunks_from(cursor: Any, prefix: bytes, start: int) -> tuple[list[bytes], int]:
    """The chunks of a key with all records at or after a time, oldest first.

    Args:
        cursor: Any.
        prefix: The view's number and the key.
        start: An event time.

    Returns:
        The chunks, and an event time, at most `start`, from which on they hold all records.
    """
    values: list[bytes] = []
    floor = NONE
    if cursor.set_range(prefix):
        for place, value in cursor:
            if not place.startswith(prefix):
                break
            values.append(value)
            head = _TOP - _head_time(place, len(place) - TIMES.size)[0]
            if head < start:  # records with the time of the head may be in the chunk before
                floor = head + 1
                break
    values.reverse()
    return values, floor


def values_between(cursor: Any, prefix: bytes, start: int, end: int) -> list[bytes]:
    """The chunks of a key that may hold records with start <= event time < end, oldest first."""
    values = []
    limit = prefix + seek_time(_TOP - start) + b"\xff" * 16  # beyond it chunks begin before the start
    if cursor.set_range(prefix + seek_time(_TOP - end + 1)):
        for place, value in cursor:
            if place > limit:  # the chunk that holds the start, or another key
                if place.startswith(prefix):
                    values.append(value)
                break
            values.append(value)
    values.reverse()
    return values
