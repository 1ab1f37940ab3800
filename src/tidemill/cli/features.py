"""`tidemill features ...`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from tidemill.cli import inventory, streams
from tidemill.cli.examples import examples
from tidemill.cli.opening import AsJson, Project, opened
from tidemill.cli.output import emit_json, emit_rows, when
from tidemill.core.errors import EXIT_CODE, InvalidArgument
from tidemill.core.times import parse_moment, to_micros

if TYPE_CHECKING:
    from tidemill.features.consistency import Verification

group = typer.Typer(help="Feature views and services: find, plan, materialize, look up, verify.", no_args_is_help=True)


_NO_VIEW = "No feature view has rows. List some in a tm.FeatureService([...])."
_GET = examples(
    "tidemill features get late_flight carrier=UA origin=EWR dest=IAH distance=1400 --at 2013-03-01T12:00:00Z"
)
_VERIFY = examples(
    "tidemill features verify late_flight --since 7d",
    "tidemill features verify late_flight --since 2013-03-01T00:00:00Z --sample 0.1 --json",
)


def add_to(app: typer.Typer) -> None:
    """Add the commands about features."""
    inventory.add_to(group)
    streams.add_to(group)
    app.add_typer(group, name="features")


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


@group.command(epilog=_VERIFY)
def verify(
    service: Annotated[str, typer.Argument(help="The feature service.")],
    since: Annotated[str, typer.Option(help="Requests from this time on, or from so long ago (7d).")] = "1d",
    until: Annotated[str | None, typer.Option(help="Requests before this time; up to now when absent.")] = None,
    sample: Annotated[float, typer.Option(help="Share of the keys to verify, of each key all vectors or none.")] = 1.0,
    lag: Annotated[str, typer.Option(help="How long a row may take from being known to being online.")] = "1m",
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Compute served vectors again: equal, late data, or defects.

    Ends with 5 if there is a defect. A value is late data if it is what was known when the request came, and more is known
    now; it is a defect if it is neither that nor what it should be.
    """
    with opened(project) as platform:
        now = platform.scope.now()
        end = None if until is None else parse_moment(until, now)
        found = platform.features.verify(service, parse_moment(since, now), end, sample=sample, lag=lag)
    if as_json:
        emit_json(found)
    else:
        _show_verification(found)
    if found.defects:
        raise typer.Exit(EXIT_CODE["invalid_data"])


def _show_verification(found: Verification) -> None:
    rows = [
        {"feature": one.feature, "rows": one.rows, "equal": one.equal, "late_data": one.late, "defects": one.defects}
        for one in found.features
    ]
    where = ", ".join(found.endpoints)
    emit_rows(rows, title=f"{found.service}, as served by {where}", as_json=False,
              empty=f"{where} served no vector of {found.service} since {when(found.since)}.")  # fmt: skip
    if found.skipped:
        print(f"{found.skipped} vectors were made by other definitions than the present ones, and left out.")
    examples = [
        {
            "kind": one.kind, "feature": check.feature, "keys": one.keys, "time": when(one.time), "online": one.online,
            "converged": one.converged, "known_at": one.known_at,
        }
        for check in found.features for one in check.examples
    ]  # fmt: skip
    if examples:
        print()
        emit_rows(examples, title="Differences", empty="", as_json=False)
    if found.features:
        print(f"\n{_in_words(found)}")


def _in_words(found: Verification) -> str:
    wrong = ", ".join(one.feature for one in found.features if one.defects)
    if found.defects:
        return f"{_counted(found.defects, 'defect')}, in {wrong}."
    return "No defect." + (
        f" {_counted(found.late, 'value')} served before late rows had arrived." if found.late else ""
    )


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _pair(text: str) -> tuple[str, Any]:
    column, equals, value = text.partition("=")
    if not equals or not column:
        raise InvalidArgument(f"{text!r} is not COLUMN=VALUE", expected="for example carrier=UA")
    return column, value
