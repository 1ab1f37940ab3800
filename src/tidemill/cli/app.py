"""The command tree."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from tidemill.cli import alerts, data, demo, feast, features, models, pipelines, project, runs, serving
from tidemill.cli.failures import INTERRUPTED, say_stopped

app = typer.Typer(
    name="tidemill",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with `tidemill demo`, or `tidemill init` in the folder of your project.",
)


def _say_version(wanted: bool) -> None:
    if wanted:
        from tidemill import __version__

        print(f"tidemill {__version__}")
        raise typer.Exit


@app.callback()
def tidemill(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """Carry a machine-learning model through its whole life: ingest, train, deploy, monitor, and round again."""


for module in (project, data, features, feast, pipelines, runs, models, serving, alerts, demo):
    module.add_to(app)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The words after `tidemill`; those of the process when absent.

    Returns:
        The exit code; failures are raised.
    """
    command = typer.main.get_command(app)
    result = command.main(
        list(sys.argv[1:] if arguments is None else arguments), prog_name="tidemill", standalone_mode=False
    )
    code = result if isinstance(result, int) else 0
    if code == INTERRUPTED:
        say_stopped()
    return code
