"""Where Delta tables lie: a folder each, on a local disk or in an object store."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
import polars as pl

LOG = "_delta_log"
LAST_CHECKPOINT = "_last_checkpoint"


def commit_file(version: int) -> str:
    """What the commit of a version is called in the log."""
    return f"{version:020d}.json"


def checkpoint_version(raw: bytes | None) -> int | None:
    """The version in the file that names the last checkpoint."""
    return None if raw is None else int(msgspec.json.decode(raw)["version"])


FIRST_COMMIT = commit_file(0)


class Written(NamedTuple):
    """A file of rows."""

    size: int
    """Bytes."""
    modified_ms: int


class Folders(Protocol):
    """The folders of tables by name. What a file is called, is its name within its folder."""

    locks: Path
    """A local folder for the locks of writers."""

    @property
    def delta_options(self) -> dict[str, str] | None:
        """What Delta is to be told about the place."""
        ...

    @property
    def polars_options(self) -> dict[str, str] | None:
        """What Polars is to be told about it."""
        ...

    def errors(self) -> AbstractContextManager[None]:
        """A block in which what the place answers becomes an error of Tidemill."""
        ...

    def location(self, name: str) -> str:
        """The folder of a table as Delta and Polars take it."""
        ...

    def birth(self, name: str) -> Hashable | None:
        """What tells this table from an earlier one of the same name; None without a table."""
        ...

    def commit(self, name: str, version: int) -> bytes | None:
        """The commit of a version in the log; None when there is none."""
        ...

    def checkpoint(self, name: str) -> int | None:
        """The version of the last checkpoint of the log; None without one."""
        ...

    def names(self) -> list[str]:
        """The tables there are, sorted."""
        ...

    def prepare(self, name: str) -> None:
        """Make the folder ready for a table that is not there yet."""
        ...

    def write(self, name: str, file: str, rows: pl.DataFrame) -> Written:
        """Write rows as a Parquet file."""
        ...

    def files(self, name: str) -> set[str]:
        """The Parquet files there are."""
        ...

    def remove(self, name: str, files: Sequence[str]) -> None:
        """Remove files; no error when they are gone."""
        ...

    def remove_table(self, name: str) -> None:
        """Remove a table so that it is there completely or not at all; no error when it is gone."""
        ...


class LocalFolders:
    """Folders on a local disk; see `Folders`.

    Args:
        root: The folder of them all; created when needed. A table `sources/flights` is the folder of that name in it.
    """

    delta_options: dict[str, str] | None = None
    polars_options: dict[str, str] | None = None

    def __init__(self, root: Path) -> None:
        self.root = root
        self.locks = root / ".locks"

    def errors(self) -> AbstractContextManager[None]:
        """Nothing: a disk's errors are told apart where it is written to."""
        return nullcontext()

    def location(self, name: str) -> str:
        """The path."""
        return str(self.root / name)

    def birth(self, name: str) -> Hashable | None:
        """Inode and modification time of the first commit."""
        log = self.root / name / LOG
        try:
            status = (log / FIRST_COMMIT).stat()
        except FileNotFoundError:
            # Another program may have cleaned the log up to a checkpoint.
            return (0, 0) if (log / LAST_CHECKPOINT).exists() else None
        return status.st_ino, status.st_mtime_ns

    def commit(self, name: str, version: int) -> bytes | None:
        """Its file, if there is one."""
        return _content(self.root / name / LOG / commit_file(version))

    def checkpoint(self, name: str) -> int | None:
        """Where the last checkpoint is, as its file says."""
        return checkpoint_version(_content(self.root / name / LOG / LAST_CHECKPOINT))

    def names(self) -> list[str]:
        """The tables there are, sorted."""
        logs = self.root.glob(f"**/{LOG}") if self.root.is_dir() else ()
        names = (log.parent.relative_to(self.root).as_posix() for log in logs)
        return sorted(name for name in names if not name.startswith("."))

    def prepare(self, name: str) -> None:
        """Make the folder."""
        (self.root / name).mkdir(parents=True, exist_ok=True)

    def write(self, name: str, file: str, rows: pl.DataFrame) -> Written:
        """Write rows as a Parquet file."""
        path = self.root / name / file
        rows.write_parquet(path)
        status = path.stat()
        return Written(status.st_size, status.st_mtime_ns // 10**6)

    def files(self, name: str) -> set[str]:
        """The Parquet files there are."""
        return {path.name for path in (self.root / name).glob("*.parquet")}

    def remove(self, name: str, files: Sequence[str]) -> None:
        """Remove files; no error when they are gone."""
        for file in files:
            (self.root / name / file).unlink(missing_ok=True)

    def remove_table(self, name: str) -> None:
        """Renamed first: a killed deletion leaves no table that is half there."""
        folder = self.root / name
        if folder.exists():
            trash = self.root / ".deleted" / uuid.uuid4().hex
            trash.parent.mkdir(exist_ok=True)
            folder.rename(trash)
            shutil.rmtree(trash)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
