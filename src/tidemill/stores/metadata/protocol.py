"""The metadata store: records, and the event log written with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from tidemill.core.records.events import Event
from tidemill.core.records.record import Record

R = TypeVar("R", bound=Record)

Where = Mapping[str, Any]
"""Field -> value (equal), None (is null), a list (one of), or a pair `(op, value)` with op one of `< <= > >= != like`.

Texts compare by code point. A null is `!=` every value. In `like`, `%` is any text, `_` any character, `\\` quotes
the next.
"""


class Reader(Protocol):
    """Reads within one consistent snapshot."""

    def get(self, kind: type[R], /, **key: Any) -> R | None:
        """The record with this primary key."""
        ...

    def find(
        self, kind: type[R], where: Where | None = None, *, order: Sequence[str] = (), limit: int | None = None,
        offset: int = 0,
    ) -> list[R]:  # fmt: skip
        """Records that match, in order; a field with `-` before it sorts downwards; ties by the primary key."""
        ...

    def count(self, kind: type[Record], where: Where | None = None) -> int: ...


class Writer(Reader, Protocol):
    """Reads and writes within one transaction, the only writing one at its time on SQLite: keep it short."""

    def add(self, *records: Record) -> None:
        """Insert new records.

        Raises:
            AlreadyExists: A primary key is taken.
        """
        ...

    def put(self, *records: Record) -> None:
        """Insert records, or replace those with the same primary key."""
        ...

    def change(self, kind: type[Record], where: Where, /, **values: Any) -> int:
        """Set fields of the records that match; returns how many."""
        ...

    def remove(self, kind: type[Record], where: Where) -> int:
        """Delete the records that match; returns how many."""
        ...

    def emit(self, event: Event) -> None:
        """Append to the event log; `seq` is given by the store, in commit order without gaps that hide events."""
        ...

    def next(self, counter: str, by: int = 1) -> int:
        """Advance a named counter and return its value before; a fresh counter starts at 1 (versions, sequences)."""
        ...


class MetadataStore(Protocol):
    """Safe for any number of threads and processes. `write` waits while another writes; it never fails with 'locked'."""

    def read(self) -> AbstractContextManager[Reader]: ...

    def write(self) -> AbstractContextManager[Writer]:
        """A transaction: committed when the block ends, rolled back when it raises. Durable once committed."""
        ...

    def close(self) -> None: ...


Opener = Callable[..., MetadataStore]
