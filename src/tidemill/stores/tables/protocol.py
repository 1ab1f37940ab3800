"""The table store: versioned columnar tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import polars as pl


class TableStore(Protocol):
    """Tables by name (grammar of names, `/` allowed as separator). A version never changes once written.

    One process writes a table at a time (a lock per table); any number read. A table is created by its first append.
    New columns of an append are added, missing ones are null; a changed type is an error that names the column.
    """

    def append(self, name: str, frame: pl.DataFrame, *, once: Mapping[str, int] | None = None) -> int:
        """Add rows in one atomic commit.

        Args:
            name: The table.
            frame: The rows.
            once: Positions of consumers, recorded with the commit; an append none of whose positions is above the recorded
                one of its consumer changes nothing. This is what makes compaction of logs exactly-once.

        Returns:
            The version that holds the rows.

        Raises:
            Conflict: Some of the positions are recorded already and others are not, so that part of the rows is there.
        """
        ...

    def widen(self, name: str, types: Mapping[str, pl.DataType]) -> int:
        """Give columns other types, which hold all their values; in one commit, for which all rows are written again.

        Args:
            name: The table.
            types: The new types by column.

        Returns:
            The version that has them.

        Raises:
            NotFound: No such table or column.
            InvalidData: A value would change; the message names the column.
        """
        ...

    def guard(self, name: str) -> AbstractContextManager[None]:
        """Hold off everybody else who guards the same name, in any thread or process; not reentrant.

        Put around a scan and an append that depends on it. It does not hold off appends outside a guard.
        """
        ...

    def position(self, name: str, consumer: str) -> int | None:
        """The highest position committed with `once` by a consumer."""
        ...

    def scan(self, name: str, *, version: int | None = None) -> pl.LazyFrame:
        """The rows of a version, the newest when absent, with the dtypes they were appended with.

        Raises:
            NotFound: No such table or version.
        """
        ...

    def version(self, name: str) -> int | None:
        """The newest version; None when the table does not exist."""
        ...

    def versions(self, name: str) -> list[tuple[int, int]]:
        """All versions, oldest first, each with its commit time (microseconds)."""
        ...

    def names(self) -> list[str]: ...

    def compact(self, name: str) -> int:
        """Join small files; the rows stay the same. Returns the new version."""
        ...

    def vacuum(self, name: str, keep: Sequence[int]) -> int:
        """Delete files no kept version (and not the newest) needs; returns how many."""
        ...

    def delete(self, name: str) -> None: ...
