"""Opening the project a command works on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.core.errors import NotFound

if TYPE_CHECKING:
    from tidemill.platform import Platform

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of a table.")]
Project = Annotated[
    Path | None,
    typer.Option("--project", "-C", help="Folder of the project; the current one or one above when absent."),
]


@contextmanager
def opened(
    folder: Path | None, overrides: Mapping[str, Any] | None = None, *,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Platform]:  # fmt: skip
    """The platform of a project folder, closed afterwards.

    Args:
        folder: What `--project` names.
        overrides: Settings that win over file and environment.
        progress: Called during a search with the trials done and their number.

    Raises:
        NotFound: There is no such folder, or no project in it or above it.
    """
    import tidemill

    with tidemill.open(existing(folder), overrides=overrides, progress=progress) as platform:
        yield platform


def existing(folder: Path | None) -> Path | None:
    """The folder, which has to be there: a misspelled one must not mean a project above it.

    Raises:
        NotFound: There is no such folder.
    """
    if folder is not None and not folder.is_dir():
        raise NotFound(f"{folder} is no folder", expected="the folder that holds tidemill.toml after --project")
    return folder
