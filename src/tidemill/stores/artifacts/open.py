"""Opening the artifact store a URL names."""

from __future__ import annotations

from pathlib import Path

from fsspec.implementations.memory import MemoryFileSystem

from tidemill.core.errors import InvalidArgument
from tidemill.stores.artifacts.filesystem import LocalArtifacts, RemoteArtifacts
from tidemill.stores.artifacts.protocol import ArtifactStore
from tidemill.stores.s3 import parse_place

SCHEMES = ("file", "memory", "s3")


def open_artifacts(url: str, home: Path) -> ArtifactStore:
    """Open the store.

    Args:
        url: `file:` (the folder `artifacts` in the home), `file:FOLDER` (relative to the home), `memory:` (gone with the
            process), or `s3://BUCKET/PREFIX` with the usual `AWS_...` variables in the environment.
        home: The project's home folder.

    Raises:
        InvalidArgument: The URL is wrong.
        MissingExtra: A package is not installed.

    Example:
        >>> store = open_artifacts("memory:", Path("."))
        >>> store.get(store.put(b"tide"))
        b'tide'
    """
    scheme, _, rest = url.partition(":")
    if scheme == "file":
        return LocalArtifacts(home / (_path(rest) or "artifacts"))
    if scheme == "memory":
        memory = _own_memory()
        return RemoteArtifacts(lambda: memory, "/artifacts", home / "cache" / "artifacts")
    if scheme == "s3":
        from tidemill.stores.artifacts.s3 import S3Artifacts

        return S3Artifacts(parse_place(url), home / "cache" / "artifacts")
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
