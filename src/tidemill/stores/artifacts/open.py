"""Opening the artifact store a URL names."""

from __future__ import annotations

from pathlib import Path

from fsspec.implementations.memory import MemoryFileSystem

from tidemill.core.errors import InvalidArgument
from tidemill.stores.artifacts.filesystem import LocalArtifacts, RemoteArtifacts
from tidemill.stores.artifacts.protocol import ArtifactStore

SCHEMES = ("file", "memory")


def open_artifacts(url: str, home: Path) -> ArtifactStore:
    """Open the store.

    Args:
        url: `file:` (the folder `artifacts` in the home), `file:FOLDER` (relative to the home), or `memory:` (gone with
            the process).
        home: The project's home folder.

    Raises:
        InvalidArgument: The URL is wrong.

    Example:
        >>> store = open_artifacts("memory:", Path("."))
        >>> store.get(store.put(b"tide"))
        b'tide'
    """
    scheme, _, rest = url.partition(":")
    if scheme == "file":
        return LocalArtifacts(home / (_path(rest) or "artifacts"))
    if scheme == "memory":
        return RemoteArtifacts(_own_memory(), "/artifacts", home / "cache" / "artifacts")
    raise InvalidArgument(f"the artifact store cannot be {scheme!r}", known=SCHEMES)


def _path(rest: str) -> str:
    # file:///abs/folder and file:/abs/folder are absolute, file:folder is relative to the home.
    return rest.removeprefix("//")


def _own_memory() -> MemoryFileSystem:
    # fsspec's memory is one for the whole process; two platforms in one process must not share theirs.
    fs = MemoryFileSystem(skip_instance_cache=True)
    fs.store = {}
    fs.pseudo_dirs = [""]
    return fs
