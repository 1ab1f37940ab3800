"""The code archive: the project's own files as they were when a pipeline was accepted."""

from __future__ import annotations

import io
import os
import shutil
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

from tidemill.stores.artifacts.protocol import ArtifactStore

_EPOCH = (1980, 1, 1, 0, 0, 0)


def archive_code(artifacts: ArtifactStore, folder: Path, files: Iterable[str]) -> str:
    """Keep the project's Python files; equal files give an equal digest.

    Args:
        artifacts: Where to keep them.
        folder: The project folder.
        files: The files with definitions, relative to the folder; modules of the folder they imported are added.

    Returns:
        The digest of a zip file.
    """
    root = folder.resolve()
    paths = {(root / file).resolve() for file in files} | _imported(root)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:  # what deflate gives depends on the library
        for path in sorted(path for path in paths if path.is_relative_to(root)):
            archive.writestr(zipfile.ZipInfo(path.relative_to(root).as_posix(), _EPOCH), path.read_bytes())
    return artifacts.put(buffer.getvalue())


def restore_code(artifacts: ArtifactStore, digest: str, folder: Path, into: Path) -> Path:
    """The folder to import archived files from: the project's own while they are unchanged, else a copy of the archive.

    Args:
        artifacts: Where the archive is kept.
        digest: Its digest.
        folder: The project folder.
        into: Where copies are made, each in a folder of its digest.

    Raises:
        NotFound: There is no such archive.
    """
    with zipfile.ZipFile(io.BytesIO(artifacts.get(digest))) as archive:
        if all(_is_unchanged(archive, name, folder) for name in archive.namelist()):
            return folder
        target = into / digest
        if not target.is_dir():
            _extract(archive, target)
    return target


def _is_unchanged(archive: zipfile.ZipFile, name: str, folder: Path) -> bool:
    path = folder / name
    return path.is_file() and path.read_bytes() == archive.read(name)


def _extract(archive: zipfile.ZipFile, target: Path) -> None:
    # Renamed when complete, so that nobody imports half of it.
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    archive.extractall(partial)
    try:
        partial.rename(target)
    except OSError:  # another process was first
        shutil.rmtree(partial)
        if not target.is_dir():
            raise


def _imported(root: Path) -> set[Path]:
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return {path for file in files if file and _is_own(path := Path(file).resolve(), root)}


def _is_own(path: Path, root: Path) -> bool:
    if path.suffix != ".py" or not path.is_relative_to(root) or not path.is_file():
        return False
    inside = path.relative_to(root).parts
    return "site-packages" not in inside and not any(part.startswith(".") for part in inside)
