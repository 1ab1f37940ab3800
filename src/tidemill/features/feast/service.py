"""Importing a Feast repository: read, convert, write."""

from __future__ import annotations

from pathlib import Path

from tidemill.core.errors import AlreadyExists, NotFound, TidemillError
from tidemill.features.feast.conversion import convert
from tidemill.features.feast.outcome import Conversion
from tidemill.features.feast.reading import read_repository
from tidemill.stores.disk import disk_errors


def import_repository(folder: Path, file: Path, *, python: str | None = None, overwrite: bool = False) -> Conversion:
    """Write a Feast repository as a Tidemill project file.

    Args:
        folder: The folder with `feature_store.yaml`.
        file: The file to write.
        python: A Python that has Feast; the one that runs this when absent.
        overwrite: Whether a file that is there may be replaced.

    Returns:
        What became of everything.

    Raises:
        AlreadyExists: The file is there, and may not be replaced.
        NotFound: There is no repository, no folder for the file, or no Feast.
        UserCodeError: The definitions cannot be evaluated.
    """
    if file.exists() and not (overwrite and file.is_file()):
        hint = "Choose another with --output, or replace it with --overwrite" if file.is_file() else "Name a file"
        raise AlreadyExists(f"{file} exists already", hint=hint)
    if not file.resolve().parent.is_dir():
        raise NotFound(f"there is no folder {file.parent}", hint="Make it, or choose another file with --output")
    found = convert(read_repository(folder, python=python), folder.resolve(), file.resolve().parent)
    _write(file, found.text)
    return found


def _write(file: Path, text: str) -> None:
    """Whole or not at all."""
    new = file.with_name(f".{file.name}.new")
    try:
        with disk_errors(file.name):
            new.write_text(text, encoding="utf-8")
            new.replace(file)
    except TidemillError:
        new.unlink(missing_ok=True)
        raise
