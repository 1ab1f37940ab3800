"""`tidemill features ...`."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from tidemill.cli import streams
from tidemill.cli.examples import examples
from tidemill.cli.opening import AsJson, Project, opened
from tidemill.cli.output import emit_json, emit_rows, when
from tidemill.core.errors import InvalidArgument
from tidemill.core.times import to_micros

group = typer.Typer(help="Feature views and services: materialize, look up.", no_args_is_help=True)


_NO_VIEW = "No feature view has rows. List some in a tm.FeatureService([...])."
_GET = examples(
    "tidemill features get late_flight carrier=UA origin=EWR dest=IAH distance=1400 --at 2013-03-01T12:00:00Z"
)


def add_to(app: typer.Typer) -> None:
    """Add the commands about features."""
    streams.add_to(group)
    app.add_typer(group, name="features")


@group.command("list", epilog=examples("tidemill features list"))
def list_views(project: Project = None, as_json: AsJson = False) -> None:
    """List the feature views in use: rows online, newest event."""
    with opened(project) as platform:
        found = platform.features.freshness()
    rows = [
        {
            "view": one.view, "rows": one.rows, "newest": when(one.newest), "lag_seconds": _seconds(one.lag),
            "target_seconds": _seconds(one.target), "stale": one.stale,
        }
        for one in found
    ]  # fmt: skip
    emit_rows(rows, title="Feature views", empty=_NO_VIEW, as_json=as_json)


@group.command(epilog=examples("tidemill features materialize", "tidemill features materialize airport_weather"))
def materialize(
    views: Annotated[list[str] | None, typer.Argument(help="Views; all when absent.")] = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Bring the online store up to date with the tables."""
    with opened(project) as platform:
        chosen: list[str | None] = [*views] if views else [None]
        done = [one for view in chosen for one in platform.features.materialize(view)]
    rows = [msgspec.to_builtins(one) for one in done]
    emit_rows(rows, title="Materialized", empty=f"{_NO_VIEW} Then run `tidemill ingest`.", as_json=as_json)


@group.command(epilog=_GET)
def get(
    service: Annotated[str, typer.Argument(help="The feature service.")],
    keys: Annotated[list[str], typer.Argument(help="COLUMN=VALUE for every key and request column.")],
    at: Annotated[str | None, typer.Option(help="As of this time; now when absent.")] = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Look up one feature vector online."""
    row = dict(_pair(text) for text in keys)
    with opened(project) as platform:
        vector = platform.features.vector(service, row, None if at is None else to_micros(at))
    if as_json:
        emit_json(vector)
    else:
        emit_rows([{"feature": k, "value": v} for k, v in vector.items()], title=service, empty="", as_json=False)


def _seconds(micros: int | None) -> float | None:
    return None if micros is None else micros / 1_000_000


def _pair(text: str) -> tuple[str, Any]:
    column, equals, value = text.partition("=")
    if not equals or not column:
        raise InvalidArgument(f"{text!r} is not COLUMN=VALUE", expected="for example carrier=UA")
    return column, value
