"""`tidemill runs ...`."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from tidemill.cli.examples import examples
from tidemill.cli.opening import AsJson, Project, opened
from tidemill.cli.output import emit_json, emit_rows, when
from tidemill.ui.facts import UNITS

group = typer.Typer(help="Tracked runs.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add the commands about runs."""
    app.add_typer(group, name="runs")


_LIST = examples(
    "tidemill runs list", "tidemill runs list --filter \"metrics.roc_auc > 0.7 AND kind = 'trial'\" --limit 5"
)


@group.command("list", epilog=_LIST)
def list_runs(
    where: Annotated[
        str | None, typer.Option("--filter", help="For example: metrics.roc_auc > 0.7 AND kind = 'trial'")
    ] = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 20,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    with opened(project) as platform:
        runs = platform.tracking.find(where, limit=limit)
        latest = platform.tracking.latest([run.id for run in runs])
    rows = [
        {
            "run": run.id if as_json else run.id[-12:], "kind": run.kind, "name": run.name, "status": run.status,
            "started": when(run.started_at), "seconds": run.resources.get("seconds"), "metrics": latest.get(run.id, {}),
        }
        for run in runs
    ]  # fmt: skip
    emit_rows(rows, title="Runs", empty="No run matches. Start one: `tidemill run PIPELINE`.", as_json=as_json)


@group.command(epilog=examples("tidemill runs show 01997c3e", "tidemill runs show 01997c3e --json"))
def show(
    run: Annotated[str, typer.Argument(help="Id of the run, or the beginning of it.")],
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Show one run: parameters, metrics, inputs and outputs."""
    with opened(project) as platform:
        found = platform.tracking.get(run)
        detail = {
            **msgspec.to_builtins(found), "metrics": platform.tracking.latest([found.id]).get(found.id, {}),
            "inputs": [link.uri for link in platform.tracking.links(found.id, "input")],
            "outputs": [link.uri for link in platform.tracking.links(found.id, "output")],
        }  # fmt: skip
    if as_json:
        emit_json(detail)
        return
    told = {name: value for name, value in detail.items() if value not in (None, {}, [])}
    rows = [{"field": name, "value": _readable(name, value)} for name, value in told.items()]
    emit_rows(rows, title=f"Run {run}", empty="", as_json=False)


def _readable(name: str, value: Any) -> Any:
    """A field of a run as people read it: microseconds as a time or a length of time, bytes as a size."""
    if isinstance(value, dict) and name != "params":
        return {key: _readable(key, item) for key, item in value.items()}
    if isinstance(value, int | float) and name in UNITS:
        return UNITS[name][1](value)
    return when(value) if name in ("created_at", "started_at", "ended_at") else value
