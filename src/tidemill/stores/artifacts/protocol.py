"""The artifact store: immutable bytes, known by their sha256."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol


class ArtifactStore(Protocol):
    """Content-addressed: the same bytes are stored once. What `put` returned survives a crash."""

    def put(self, data: bytes) -> str:
        """Store bytes; returns their digest."""
        ...

    def put_file(self, path: Path) -> str:
        """Store a file's bytes without loading them whole; returns their digest."""
        ...

    def get(self, digest: str) -> bytes:
        """The bytes, checked against the digest.

        Raises:
            NotFound: There are none.
            InvalidData: They no longer match their digest.
        """
        ...

    def open(self, digest: str) -> BinaryIO:
        """A readable, seekable file of the bytes."""
        ...

    def local_path(self, digest: str) -> Path:
        """A local file with the bytes, for libraries that want a path; never write to it."""
        ...

    def size(self, digest: str) -> int: ...

    def exists(self, digest: str) -> bool: ...

    def delete(self, digest: str) -> None:
        """Remove the bytes; no error when they are gone. Callers ask the pins first."""
        ...

    def digests(self) -> Iterator[str]: ...
