"""Artifacts on any file system fsspec knows, and on the local disk with crash safety."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO, cast

from fsspec import AbstractFileSystem

from tidemill.core.errors import InvalidData
from tidemill.core.ids import digest_bytes, digest_file
from tidemill.stores.artifacts.digests import is_digest, no_artifact, place
from tidemill.stores.disk import disk_errors, sync_folder

_CHUNK = 1 << 20
_STALE_NANOS = 24 * 3600 * 10**9


class LocalArtifacts:
    """Artifacts as read-only files; see `ArtifactStore`.

    A file is written beside its place, flushed to the disk and then renamed, so it is whole or absent.

    Args:
        root: The folder; created by the first artifact.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._swept = False

    def put(self, data: bytes) -> str:
        """Store bytes; returns their digest."""
        digest = digest_bytes(data)
        if not self._has(digest, len(data)):
            with self._incoming() as temporary:
                temporary.write_bytes(data)
                self._keep(temporary, digest)
        return digest

    def put_file(self, path: Path) -> str:
        """Store a file's bytes in one pass over them; returns their digest."""
        with path.open("rb") as source:
            return self.put_stream(source)

    def put_stream(self, source: BinaryIO, *, expected: str | None = None) -> str:
        """Store what a file object still has to give, in one pass.

        Args:
            source: The file object.
            expected: The digest the bytes must have.

        Raises:
            InvalidData: They have another.
        """
        with self._incoming() as temporary:
            digest = _copy(source, temporary)
            if expected not in (None, digest):
                raise damaged(str(expected))
            if not self._has(digest, temporary.stat().st_size):
                self._keep(temporary, digest)
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes, checked against the digest."""
        return checked(self.local_path(digest).read_bytes(), digest)

    def open(self, digest: str) -> BinaryIO:
        """A readable, seekable file of the bytes."""
        return self.local_path(digest).open("rb")

    def local_path(self, digest: str) -> Path:
        """The file itself; it is read-only."""
        path = self._path(digest)
        if not path.is_file():
            raise no_artifact(digest)
        return path

    def size(self, digest: str) -> int:
        """Bytes."""
        return self.local_path(digest).stat().st_size

    def exists(self, digest: str) -> bool:
        """Whether it is stored."""
        return self._path(digest).is_file()

    def delete(self, digest: str) -> None:
        """Remove the bytes; no error when they are gone."""
        with disk_errors(str(self._root)):
            self._path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """All that is stored, in no particular order."""
        return (path.name for path in self._root.glob("??/??/*") if is_digest(path.name))

    def _path(self, digest: str) -> Path:
        return self._root / place(digest)

    def _has(self, digest: str, size: int) -> bool:
        # A file of another size was damaged after it was stored: storing it again heals it.
        path = self._path(digest)
        return path.is_file() and path.stat().st_size == size

    @contextmanager
    def _incoming(self) -> Iterator[Path]:
        folder = self._root / "incoming"
        temporary = folder / uuid.uuid4().hex
        with disk_errors(f"artifacts in {self._root}"):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                temporary.touch()
                self._sweep(temporary)
                yield temporary
            finally:
                temporary.unlink(missing_ok=True)

    def _sweep(self, newest: Path) -> None:
        """Once per store, remove what killed writers left: files a day older than one made just now."""
        if self._swept:
            return
        self._swept = True
        limit = newest.stat().st_mtime_ns - _STALE_NANOS
        for path in newest.parent.iterdir():
            with suppress(FileNotFoundError):  # another process sweeps too
                if path.stat().st_mtime_ns < limit:
                    path.unlink()

    def _keep(self, temporary: Path, digest: str) -> None:
        target = self._path(digest)
        made = [folder for folder in (target.parent.parent, target.parent) if not folder.exists()]
        target.parent.mkdir(parents=True, exist_ok=True)
        _flush(temporary)
        os.replace(temporary, target)
        for folder in (*(folder.parent for folder in made), target.parent):
            sync_folder(folder)


class RemoteArtifacts:
    """Artifacts in an object store, or in memory; see `ArtifactStore`.

    Args:
        connect: Gives the file system; called once in a process, and again in one that was forked. The file system shows an
            object only once it is complete.
        root: The folder or bucket prefix in it.
        cache: A local folder for `local_path`.
        errors: A block in which errors of the file system become Tidemill's.
    """

    def __init__(
        self, connect: Callable[[], AbstractFileSystem], root: str, cache: Path,
        errors: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:  # fmt: skip
        self._connect = connect
        self._root = root.rstrip("/")
        self._cache = LocalArtifacts(cache)
        self._errors = errors
        self._connected: tuple[int, AbstractFileSystem] | None = None

    @property
    def _fs(self) -> AbstractFileSystem:
        if self._connected is None or self._connected[0] != os.getpid():
            self._connected = os.getpid(), self._connect()
        return self._connected[1]

    def put(self, data: bytes) -> str:
        """Store bytes; returns their digest."""
        digest = digest_bytes(data)
        with self._errors():
            if not self._has(digest, len(data)):
                self._fs.pipe_file(self._path(digest), data)
        return digest

    def put_file(self, path: Path) -> str:
        """Store a file's bytes without loading them whole; returns their digest."""
        digest, size = digest_file(path), path.stat().st_size
        with self._errors():
            if not self._has(digest, size):
                self._fs.put_file(str(path), self._path(digest))
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes, checked against the digest."""
        with self._found(digest) as path:
            return checked(self._fs.cat_file(path), digest)

    def open(self, digest: str) -> BinaryIO:
        """A readable, seekable file of the bytes."""
        with self._found(digest) as path:
            return cast(BinaryIO, self._fs.open(path, "rb"))

    def local_path(self, digest: str) -> Path:
        """A copy in the cache folder, downloaded when it is not there."""
        if not self._cache.exists(digest):
            with self.open(digest) as source:
                self._cache.put_stream(source, expected=digest)
        return self._cache.local_path(digest)

    def size(self, digest: str) -> int:
        """Bytes."""
        with self._found(digest) as path:
            return int(self._fs.size(path))

    def exists(self, digest: str) -> bool:
        """Whether it is stored."""
        path = self._path(digest)
        with self._errors():
            return bool(self._fs.isfile(path))

    def delete(self, digest: str) -> None:
        """Remove the bytes, here and in the cache; no error when they are gone."""
        path = self._path(digest)
        with self._errors(), suppress(FileNotFoundError):
            self._fs.rm_file(path)
        self._cache.delete(digest)

    def digests(self) -> Iterator[str]:
        """All that is stored, in no particular order."""
        with self._errors():
            names = [str(path).rpartition("/")[2] for path in self._fs.find(self._root)]
        return (name for name in names if is_digest(name))

    def _path(self, digest: str) -> str:
        return f"{self._root}/{place(digest)}"

    def _has(self, digest: str, size: int) -> bool:
        return self.exists(digest) and self._fs.size(self._path(digest)) == size

    @contextmanager
    def _found(self, digest: str) -> Iterator[str]:
        path = self._path(digest)
        with self._errors():
            try:
                yield path
            except FileNotFoundError:
                raise no_artifact(digest) from None


def _copy(source: BinaryIO, target: Path) -> str:
    hashed = hashlib.sha256()
    with target.open("wb") as out:
        while chunk := source.read(_CHUNK):
            hashed.update(chunk)
            out.write(chunk)
    return hashed.hexdigest()


def _flush(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fchmod(fd, 0o444)  # others read it in place
        os.fsync(fd)
    finally:
        os.close(fd)


def checked(data: bytes, digest: str) -> bytes:
    """The bytes, if they have the digest.

    Raises:
        InvalidData: They do not.
    """
    if digest_bytes(data) != digest:
        raise damaged(digest)
    return data


def damaged(digest: str) -> InvalidData:
    """The error of bytes that changed after they were stored."""
    return InvalidData(f"the artifact {digest} is damaged", hint="Store it again, or restore it from a backup")
