"""Tables on Delta Lake, one folder each, on a local disk or in an object store."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import polars as pl
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction, write_deltalake
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, create_table_with_add_actions

from tidemill.core.errors import Conflict, InvalidArgument, InvalidData, NotFound, unknown
from tidemill.core.ids import check_name
from tidemill.stores.locks import FileLock
from tidemill.stores.tables.errors import translated
from tidemill.stores.tables.folders import Folders, Written
from tidemill.stores.tables.merge import Merge, merge
from tidemill.stores.tables.snapshots import Snapshots
from tidemill.stores.tables.tail import Snapshot
from tidemill.stores.tables.types import arrow_table, delta_schema, from_stored, stored_schema, to_stored

Once = Mapping[str, int]

_CONFIGURATION: dict[str, str | None] = {
    # A checkpoint every 20 commits keeps opening a table of hundreds of small commits at a few milliseconds.
    "delta.checkpointInterval": "20",
    # A version never changes and stays readable until `vacuum`: the log is never cleaned up.
    "delta.logRetentionDuration": "interval 36500 days",
}
_HOOK = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)


class DeltaTables:
    """A `TableStore` on Delta Lake. Safe for any number of threads and processes.

    Rows are written by Polars as one Parquet file per append and added to Delta's log in one commit. Only plain features of
    the format are used (no deletion vectors, no column mapping), so any Delta reader reads the tables.

    Args:
        folders: Where the tables are.
    """

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._snapshots = Snapshots(folders)
        self._locks: dict[str, FileLock] = {}

    def append(self, name: str, frame: pl.DataFrame, *, once: Once | None = None) -> int:
        """Add rows in one atomic commit; see `TableStore.append`."""
        if not frame.width:
            raise InvalidArgument(f"the rows for table {name!r} have no columns", expected="at least one column")
        stored_schema(frame.schema)
        with self._writing(name):
            before = self._snapshots.newest(name)
            if before is None:
                return self._create(name, frame, once)
            if once and self._is_done(name, once):
                return before.version
            self._add(name, before, merge(name, before.appended, frame), once)
            return self._version(name)

    def _create(self, name: str, frame: pl.DataFrame, once: Once | None) -> int:
        self._check_not_nested(name)
        self._folders.prepare(name)

        def commit(actions: list[AddAction]) -> None:
            create_table_with_add_actions(
                self._folders.location(name), delta_schema(frame.schema), actions, mode="error",
                configuration=_CONFIGURATION, storage_options=self._folders.delta_options,
                commit_properties=_properties(once), post_commithook_properties=_HOOK,
            )  # fmt: skip

        self._commit_file(name, frame, commit)
        return 0

    def _add(self, name: str, before: Snapshot, change: Merge, once: Once | None) -> None:
        table = self._existing(name)
        if change.typed:
            self._rewrite(table, before, change, once)
        elif change.added:
            write_deltalake(
                table, arrow_table(change.frame), mode="append", schema_mode="merge",
                commit_properties=_properties(once), post_commithook_properties=_HOOK,
            )  # fmt: skip
        elif change.frame.height or once:
            self._commit_rows(name, table, change.frame, once)

    def _rewrite(self, table: DeltaTable, before: Snapshot, change: Merge, once: Once | None) -> None:
        """Give columns that were all null a type. Their files say otherwise, so all rows are written again, in one commit."""
        found = self._rows(before).cast({name: change.frame.schema[name] for name in change.typed}).collect()
        rows = pl.concat([found, change.frame], how="diagonal").select(change.frame.columns)
        _overwrite(table, rows, once)

    def widen(self, name: str, types: Mapping[str, pl.DataType]) -> int:
        """Give columns other types; see `TableStore.widen`."""
        with self._writing(name):
            table = self._existing(name)
            rows = self.scan(name).collect()
            _overwrite(table, rows.with_columns(_widened(name, rows, column, to) for column, to in types.items()), None)
            return self._version(name)

    @contextmanager
    def guard(self, name: str) -> Iterator[None]:
        """Hold off everybody else who guards the same name; see `TableStore.guard`."""
        _check(name)
        with self._lock(f"{name}.guard"):
            yield

    def position(self, name: str, consumer: str) -> int | None:
        """The highest position committed with `once` by a consumer."""
        return self._snapshots.position(_check(name), consumer)

    def scan(self, name: str, *, version: int | None = None) -> pl.LazyFrame:
        """The rows of a version, in no particular order; see `TableStore.scan`."""
        snapshot = self._snapshots.newest(_check(name))
        if snapshot is None:
            raise unknown("table", name, self.names())
        if version is not None and version != snapshot.version:
            snapshot = self._old(name, version, newest=snapshot.version)
        return self._rows(snapshot)

    def _old(self, name: str, version: int, *, newest: int) -> Snapshot:
        if not 0 <= version <= newest:
            raise NotFound(f"table {name!r} has no version {version}", expected=f"a version from 0 to {newest}")
        snapshot = self._snapshots.at(name, version)
        if not _names(snapshot.files) <= self._folders.files(name):
            raise NotFound(
                f"the rows of version {version} of table {name!r} were vacuumed", hint="Pin versions you need"
            )
        return snapshot

    def version(self, name: str) -> int | None:
        """The newest version; None when the table does not exist."""
        snapshot = self._snapshots.newest(_check(name))
        return None if snapshot is None else snapshot.version

    def versions(self, name: str) -> list[tuple[int, int]]:
        """All versions, oldest first, each with its commit time by the machine's clock (microseconds)."""
        history = self._existing(_check(name)).history()
        return sorted((entry["version"], int(entry["timestamp"]) * 1000) for entry in history)

    def names(self) -> list[str]:
        """The tables there are, sorted."""
        return self._folders.names()

    def compact(self, name: str) -> int:
        """Join small files; the rows stay the same. Returns the new version."""
        with self._writing(name):
            table = self._existing(name)
            if len(table.file_uris()) > 1:
                table.optimize.compact(post_commithook_properties=_HOOK)
            return self._version(name)

    def vacuum(self, name: str, keep: Sequence[int]) -> int:
        """Delete files no kept version (and not the newest) needs, those of killed writers too; returns how many."""
        with self._writing(name):
            table = self._existing(name)
            needed = _names(table.file_uris())
            for version in keep:
                needed |= _names(self._old(name, version, newest=table.version()).files)
            unneeded = sorted(self._folders.files(name) - needed)
            self._folders.remove(name, unneeded)
            return len(unneeded)

    def delete(self, name: str) -> None:
        """Remove a table with all its versions; no error when there is none."""
        with self._writing(name):
            self._folders.remove_table(name)

    def check(self) -> str:
        """Ask the place of the tables, if it is a server; returns what to tell about it."""
        check: Callable[[], str] = getattr(self._folders, "check", lambda: "answers")
        return check()

    def _version(self, name: str) -> int:
        """The newest version of a table that exists."""
        version = self.version(name)
        if version is None:
            raise unknown("table", name, self.names())
        return version

    def _is_done(self, name: str, once: Once) -> bool:
        recorded = {consumer: self._snapshots.position(name, consumer) for consumer in once}
        done = [consumer for consumer, found in recorded.items() if found is not None and once[consumer] <= found]
        if done and len(done) < len(once):
            raise Conflict(
                f"rows of {', '.join(done)} are in table {name!r} already, those that come with them are not",
                hint="Read the positions again under a guard, and append what is above them",
            )
        return bool(done)

    def _existing(self, name: str) -> DeltaTable:
        table = self._snapshots.table(name)
        if table is None:
            raise unknown("table", name, self.names())
        return table

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        _check(name)
        with translated(name), self._lock(name), self._folders.errors():
            yield

    def _lock(self, name: str) -> FileLock:
        if name not in self._locks:
            path = self._folders.locks / f"{name}.lock"
            path.parent.mkdir(parents=True, exist_ok=True)
            # Of two threads that come first together, both get the one that is kept.
            return self._locks.setdefault(name, FileLock(path))
        return self._locks[name]

    def _check_not_nested(self, name: str) -> None:
        for other in self.names():
            if other.startswith(f"{name}/") or name.startswith(f"{other}/"):
                raise Conflict(
                    f"table {name!r} would lie in the same folder as table {other!r}", hint="Choose another name"
                )

    def _commit_rows(self, name: str, table: DeltaTable, frame: pl.DataFrame, once: Once | None) -> None:
        def commit(actions: list[AddAction]) -> None:
            table.create_write_transaction(
                [*actions], "append", table.schema(), commit_properties=_properties(once),
                post_commithook_properties=_HOOK,
            )  # fmt: skip

        self._commit_file(name, frame, commit)

    def _commit_file(self, name: str, frame: pl.DataFrame, commit: Callable[[list[AddAction]], None]) -> None:
        """Write the rows' file, then commit it. One whose commit failed is removed; one of a killed process by `vacuum`."""
        file = f"{uuid.uuid4().hex}.parquet"
        try:
            actions = []
            if frame.height:
                actions = [_add_action(file, self._folders.write(name, file, to_stored(frame)), frame.height)]
            commit(actions)
        except (OSError, DeltaError, pl.exceptions.PolarsError, KeyboardInterrupt):
            if not self._is_committed(name, file):
                self._folders.remove(name, [file])
            raise

    def _is_committed(self, name: str, file: str) -> bool:
        # Interrupted right after the commit, the file belongs to the table although the commit call did not return.
        table = self._snapshots.table(name)
        return table is not None and file in _names(table.file_uris())

    def _rows(self, snapshot: Snapshot) -> pl.LazyFrame:
        if not snapshot.files:
            return pl.LazyFrame(schema=snapshot.appended)
        rows = pl.scan_parquet(
            list(snapshot.files), schema=snapshot.stored, missing_columns="insert", glob=False, hive_partitioning=False,
            storage_options=self._folders.polars_options,
        )  # fmt: skip
        return from_stored(rows, snapshot.appended, snapshot.stored)


def _check(name: str) -> str:
    for part in name.split("/"):
        check_name(part, "table name")
    return name


def _names(files: Sequence[str]) -> set[str]:
    return {file.rpartition("/")[2] for file in files}


def _properties(once: Once | None) -> CommitProperties:
    return CommitProperties(app_transactions=[Transaction(*one) for one in once.items()] if once else None)


def _overwrite(table: DeltaTable, rows: pl.DataFrame, once: Once | None) -> None:
    write_deltalake(
        table, arrow_table(rows), mode="overwrite", schema_mode="overwrite",
        commit_properties=_properties(once), post_commithook_properties=_HOOK,
    )  # fmt: skip


def _widened(table: str, rows: pl.DataFrame, column: str, dtype: pl.DataType) -> pl.Series:
    if column not in rows.columns:
        raise unknown(f"column of table {table!r}", column, rows.columns)
    before = rows[column]
    after = before.cast(dtype, strict=False)
    if not after.cast(before.dtype, strict=False).eq_missing(before).all():
        raise InvalidData(
            f"column {column!r} of table {table!r} holds values that {dtype} cannot hold",
            expected=f"values that are the same as {before.dtype} and as {dtype}",
        )
    return after


def _add_action(file: str, written: Written, rows: int) -> AddAction:
    return AddAction(file, written.size, {}, written.modified_ms, True, json.dumps({"numRecords": rows}))
