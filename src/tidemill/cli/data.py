"""`tidemill ingest`, `sources` and `quarantine`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.examples import examples
from tidemill.cli.opening import AsJson, Project, opened
from tidemill.cli.output import emit_rows, when
from tidemill.cli.progress import progress_bar
from tidemill.core.errors import InvalidArgument

if TYPE_CHECKING:
    from tidemill.core.records.data import Arrival
    from tidemill.platform import Platform


def add_to(app: typer.Typer) -> None:
    """Add the commands about data."""
    app.command(epilog=_INGEST)(ingest)
    app.command(epilog=examples("tidemill sources", "tidemill sources --json"))(sources)
    app.command(epilog=examples("tidemill quarantine weather --limit 5"))(quarantine)


_INGEST = examples(
    "tidemill ingest",
    "tidemill ingest weather flights --strict",
    "tidemill ingest weather --url deliveries/monday.csv.gz",
)


def ingest(
    names: Annotated[list[str] | None, typer.Argument(help="Sources; all that have a URL when absent.")] = None,
    url: Annotated[str | None, typer.Option(help="Read from here instead of the source's own URL.")] = None,
    strict: Annotated[bool, typer.Option(help="Refuse the delivery when a row fails a check.")] = False,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Load what sources deliver; bad rows go to quarantine."""
    if url is not None and len(names or []) != 1:
        raise InvalidArgument("--url says where one source is read from", expected="one source before it")
    with opened(project) as platform, progress_bar("Ingesting") as advance:
        chosen = names or _delivering(platform)
        arrivals: list[Arrival] = []
        for name in chosen:
            advance(len(arrivals), len(chosen))
            arrivals += platform.ingest([name], url=url, strict=strict)
    rows = [
        {
            "source": a.source, "rows": a.rows, "quarantined": a.quarantined, "bytes": a.size,
            "first": when(a.first_ts), "last": when(a.last_ts), "table": f"{a.table}@{a.table_version}",
        }
        for a in arrivals
    ]  # fmt: skip
    emit_rows(
        rows, title="Arrivals", empty="No source has a URL. Define one: tm.Source(name, url, ...).", as_json=as_json
    )


def _delivering(platform: Platform) -> list[str]:
    from tidemill.platform import delivers

    return [name for name, source in platform.definitions.of_kind("source").items() if delivers(source)]


def sources(project: Project = None, as_json: AsJson = False) -> None:
    """List sources: rows, newest event, rows in quarantine."""
    with opened(project) as platform:
        found = platform.data.sources()
    rows = [
        {
            "source": one.name, "rows": one.rows, "quarantined": one.quarantined, "dead_letters": one.dead_letters,
            "arrivals": one.arrivals,
            "newest": when(one.watermark), "last_arrival": when(one.last_arrival),
        }
        for one in found
    ]  # fmt: skip
    emit_rows(rows, title="Sources", empty="No source has delivered yet. Run `tidemill ingest`.", as_json=as_json)


def quarantine(
    source: Annotated[str, typer.Argument(help="The source.")],
    limit: Annotated[int, typer.Option(help="Rows to show, the newest.", min=1)] = 20,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Show the rows of a source that failed, with their reasons."""
    with opened(project) as platform:
        rows = platform.data.quarantine(platform.definitions.get("source", source)).tail(limit).to_dicts()
    shown = [{key: str(value) if value is not None else None for key, value in row.items()} for row in rows]
    emit_rows(shown, title=f"Quarantine of {source}", empty="No row is in quarantine.", as_json=as_json)
