"""`tidemill demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidemill.cli.examples import examples


def add_to(app: typer.Typer) -> None:
    """Add the demo."""
    app.command(epilog=examples("tidemill demo", "tidemill demo --days 30 --fast --keep"))(demo)


def demo(
    days: Annotated[
        int | None, typer.Option(help="Days to live through from 1 April; the whole year when absent.", min=1)
    ] = None,
    fast: Annotated[
        bool, typer.Option(help="Every fourth flight, fewer trials, and windows closed once a week: about a minute.")
    ] = False,
    keep: Annotated[bool, typer.Option(help="Leave the pages running at the end, to look around.")] = False,
    restart: Annotated[bool, typer.Option(help="Start over, even if an earlier demo was interrupted.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write the final table as JSON to this file.")] = None,
    folder: Annotated[Path, typer.Option(help="Where the demo's project lives.")] = Path("tidemill-demo"),
) -> None:
    """Live a year of real flights with a model that heals itself."""
    from tidemill.demo.run import Demo, Options

    Demo(Options(days=days, fast=fast, keep=keep, restart=restart, report=report, folder=folder)).run()
