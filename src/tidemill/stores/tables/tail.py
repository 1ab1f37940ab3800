"""Commits of a Delta log one by one: what was added to a table since its log was read as a whole.

Reading a commit is a matter of microseconds where asking deltalake for news is one of milliseconds. Only what appends and the
joining of files write is understood here; any other commit is left to deltalake.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

import msgspec
import polars as pl


@dataclass(frozen=True)
class Snapshot:
    """One version of a table."""

    version: int
    files: tuple[str, ...]
    appended: pl.Schema
    """Its columns with the dtypes they were appended with."""
    stored: pl.Schema
    """The same columns with their dtypes in the files."""
    positions: Mapping[str, int] = field(default_factory=dict)
    """Positions consumers committed since the log was read as a whole."""

    def after(self, commit: Commit, location: str) -> Snapshot:
        """The next version.

        Args:
            commit: What it changed.
            location: The table's folder, as Delta takes it.
        """
        removed = {file_of(location, path) for path in commit.removed}
        kept = [file for file in self.files if file not in removed] if removed else self.files
        return replace(
            self,
            version=self.version + 1,
            files=(*kept, *(file_of(location, path) for path in commit.added)),
            positions={**self.positions, **commit.positions},
        )


def file_of(location: str, path: str) -> str:
    """Where a file of a table is, as Polars takes it.

    Args:
        location: The table's folder.
        path: The file's path in the log: encoded like a URL, within the folder unless it is absolute.

    Example:
        >>> file_of("/data/a b/t", "x%20y.parquet")
        '/data/a b/t/x y.parquet'
    """
    plain = unquote(path)
    return plain if plain.startswith("/") or "://" in plain else f"{location}/{plain}"


class Commit(msgspec.Struct, frozen=True):
    """What a commit changed: files by their paths in the log, and positions of consumers."""

    added: list[str]
    removed: list[str]
    positions: dict[str, int]


class _File(msgspec.Struct, frozen=True, rename="camel"):
    path: str
    deletion_vector: dict[str, Any] | None = None


class _Transaction(msgspec.Struct, frozen=True, rename="camel"):
    app_id: str
    version: int


class _Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One line of a commit; a line of another kind (new columns, another protocol) is not understood."""

    add: _File | None = None
    remove: _File | None = None
    txn: _Transaction | None = None
    commit_info: dict[str, Any] | None = None


_lines = msgspec.json.Decoder(_Action)


def read_commit(raw: bytes) -> Commit | None:
    """What a commit changed; None when it did more than add and remove files.

    Args:
        raw: The commit's file in the log.

    Example:
        >>> read_commit(b'{"add": {"path": "a.parquet"}}').added
        ['a.parquet']
        >>> read_commit(b'{"metaData": {"id": "x"}}') is None
        True
    """
    try:
        actions = _lines.decode_lines(raw)
    except msgspec.ValidationError:
        return None
    files = [file for action in actions for file in (action.add, action.remove) if file is not None]
    if any(file.deletion_vector is not None for file in files):  # it stands for some of its file's rows
        return None
    return Commit(
        added=[action.add.path for action in actions if action.add is not None],
        removed=[action.remove.path for action in actions if action.remove is not None],
        positions={action.txn.app_id: action.txn.version for action in actions if action.txn is not None},
    )
