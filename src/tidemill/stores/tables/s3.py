"""Folders of Delta tables in an object store that speaks S3."""

from __future__ import annotations

import io
import os
from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import polars as pl

from tidemill.core.errors import MissingExtra
from tidemill.stores.s3 import Place, bucket_answers, is_installed, s3_errors
from tidemill.stores.tables.folders import (
    FIRST_COMMIT,
    LAST_CHECKPOINT,
    LOG,
    Written,
    checkpoint_version,
    commit_file,
)


class S3Folders:
    """Prefixes in a bucket; see `Folders`.

    A commit is an object that is put only if there is none of its name, so two writers never overwrite each other's. The
    locks that make writers wait for each other, and guards, reach over the processes of one machine.

    Args:
        place: Bucket and prefix.
        locks: A local folder for locks.

    Raises:
        MissingExtra: s3fs is not installed.
    """

    def __init__(self, place: Place, locks: Path) -> None:
        if not is_installed():
            raise MissingExtra("the tables store s3", "s3")
        self._place = place
        self.locks = locks / place.path
        self._connected: tuple[int, Any] | None = None

    @property
    def delta_options(self) -> dict[str, str]:
        """A commit is put only where there is none, and a dead server is given up before long."""
        return {**self.polars_options, "aws_conditional_put": "etag", "max_retries": "3", "retry_timeout": "20s"}

    @property
    def polars_options(self) -> dict[str, str]:
        """Another server than Amazon's. Nothing secret, for a plan shows it."""
        server = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        if not server:
            return {}
        return {"aws_endpoint_url": server, "aws_allow_http": str(server.startswith("http:")).lower()}

    def errors(self) -> AbstractContextManager[None]:
        """What the server answers, in Tidemill's words."""
        return s3_errors(self._place)

    def check(self) -> str:
        """Ask the server for the bucket; see `bucket_answers`."""
        return bucket_answers(self._fs, self._place)

    def location(self, name: str) -> str:
        """The URL."""
        return f"s3://{self._path(name)}"

    def birth(self, name: str) -> Hashable | None:
        """Digest and modification time of the first commit."""
        log = f"{self._path(name)}/{LOG}"
        with self.errors():
            try:
                found = self._fs.info(f"{log}/{FIRST_COMMIT}")
            except FileNotFoundError:
                # Another program may have cleaned the log up to a checkpoint.
                return 0 if self._fs.isfile(f"{log}/{LAST_CHECKPOINT}") else None
        return found["ETag"], str(found["LastModified"])

    def commit(self, name: str, version: int) -> bytes | None:
        """Its object, if there is one."""
        return self._content(f"{self._path(name)}/{LOG}/{commit_file(version)}")

    def checkpoint(self, name: str) -> int | None:
        """Where the last checkpoint is, as its object says."""
        return checkpoint_version(self._content(f"{self._path(name)}/{LOG}/{LAST_CHECKPOINT}"))

    def _content(self, path: str) -> bytes | None:
        with self.errors():
            try:
                found: bytes = self._fs.cat_file(path)
            except FileNotFoundError:
                return None
        return found

    def names(self) -> list[str]:
        """The tables there are, sorted."""
        with self.errors():
            return sorted(self._tables_in(""))

    def _tables_in(self, name: str) -> list[str]:
        folders = [path.rpartition("/")[2] for path in self._listed(self._path(name), "directory")]
        if LOG in folders:
            return [name]
        return [table for folder in folders for table in self._tables_in(f"{name}/{folder}".lstrip("/"))]

    def prepare(self, name: str) -> None:
        """Remove what a killed deletion left: old commits must not become those of the new table."""
        with self.errors(), suppress(FileNotFoundError):
            self._fs.rm(self._path(name), recursive=True)

    def write(self, name: str, file: str, rows: pl.DataFrame) -> Written:
        """Write rows as a Parquet file."""
        buffer = io.BytesIO()
        rows.write_parquet(buffer)
        path = f"{self._path(name)}/{file}"
        with self.errors():
            self._fs.pipe_file(path, buffer.getvalue())
            modified = self._fs.info(path)["LastModified"]
        return Written(buffer.tell(), int(modified.timestamp() * 1000))

    def files(self, name: str) -> set[str]:
        """The Parquet files there are."""
        with self.errors():
            names = (path.rpartition("/")[2] for path in self._listed(self._path(name), "file"))
            return {name for name in names if name.endswith(".parquet")}

    def remove(self, name: str, files: Sequence[str]) -> None:
        """Remove files; no error when they are gone."""
        with self.errors():
            for file in files:
                with suppress(FileNotFoundError):
                    self._fs.rm_file(f"{self._path(name)}/{file}")

    def remove_table(self, name: str) -> None:
        """Its marks of birth first: without them there is no table, and a new one clears the rest away."""
        self.remove(name, [f"{LOG}/{LAST_CHECKPOINT}", f"{LOG}/{FIRST_COMMIT}"])
        self.prepare(name)

    def _path(self, name: str) -> str:
        return f"{self._place.path}/{name}".rstrip("/")

    def _listed(self, path: str, kind: str) -> list[str]:
        try:
            return [str(entry["name"]).rstrip("/") for entry in self._fs.ls(path, detail=True) if entry["type"] == kind]
        except FileNotFoundError:
            return []

    @property
    def _fs(self) -> Any:
        # A process that was forked gets a connection of its own.
        if self._connected is None or self._connected[0] != os.getpid():
            import s3fs

            self._connected = os.getpid(), s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
        return self._connected[1]
