"""`tidemill feast import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from tidemill.cli.examples import examples
from tidemill.cli.opening import AsJson
from tidemill.cli.output import emit_json, emit_rows
from tidemill.core.errors import EXIT_CODE
from tidemill.core.settings import FILE_NAME

group = typer.Typer(no_args_is_help=True)

_EXAMPLES = examples(
    "tidemill feast import ../driver_repo/feature_repo --python ../driver_repo/.venv/bin/python",
    "tidemill feast import feature_repo --output drivers.py --json",
)


def add_to(app: typer.Typer) -> None:
    """Add the commands for those who come from Feast."""
    group.command("import", epilog=_EXAMPLES)(import_)
    app.add_typer(group, name="feast")


# A second command makes `import` a word of its own: one command alone would take the group's name.
@group.callback()
def _feast() -> None:
    """Come from Feast: write its definitions as Tidemill's."""


def import_(
    repo: Annotated[Path, typer.Argument(help="The folder with feature_store.yaml.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path("features.py"),
    python: Annotated[
        str | None, typer.Option(help="A Python that has Feast; the one that runs tidemill when absent.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a Feast repository as a Tidemill project file.

    Ends with 5 if something could not be converted; the file is written all the same, and says so where it would stand.
    """
    from tidemill.features.feast.service import import_repository

    found = import_repository(repo, output, python=python, overwrite=overwrite)
    if as_json:
        emit_json({"file": str(output), "converted": found.converted, "not_converted": found.not_converted,
                   "notes": found.notes})  # fmt: skip
    else:
        emit_rows([msgspec.to_builtins(one) for one in found.converted], title=f"Written to {output}", as_json=False,
                  empty="The repository defines nothing that could be converted.")  # fmt: skip
        if found.not_converted:
            emit_rows([msgspec.to_builtins(one) for one in found.not_converted], title="Not converted", empty="",
                      as_json=False)  # fmt: skip
        for note in found.notes:
            print(f"Note: {note}")
        print(f"Next: list {output.name} under files= in {FILE_NAME} (tidemill init writes one), then tidemill ingest "
              "and tidemill apply.")  # fmt: skip
    if found.not_converted:
        raise typer.Exit(EXIT_CODE["invalid_data"])
