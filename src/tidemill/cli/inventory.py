"""`tidemill features list`, `show`, `search` and `plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from tidemill.cli.examples import examples
from tidemill.cli.opening import AsJson, Project, opened
from tidemill.cli.output import emit_json, emit_rows, when
from tidemill.core.settings import FILE_NAME
from tidemill.core.times import format_duration

if TYPE_CHECKING:
    from tidemill.features.inventory import Detail, Entry, FeatureChange

_NONE = f"No feature view is defined. Write tm.FeatureView(...) in a file that {FILE_NAME} lists."
_Tags = Annotated[list[str] | None, typer.Option("--tag", help="Only those with this tag; may be repeated.")]


def add_to(group: typer.Typer) -> None:
    """Add the commands about what features there are."""
    group.command("list", epilog=examples("tidemill features list", "tidemill features list --tag weather"))(list_all)
    group.command(epilog=examples("tidemill features search delay carrier", "tidemill features search ada"))(search)
    group.command(epilog=examples("tidemill features show late_flight", "tidemill features show weather --json"))(show)
    group.command(epilog=examples("tidemill features plan", "tidemill features plan --json"))(plan)


def list_all(tags: _Tags = None, project: Project = None, as_json: AsJson = False) -> None:
    """List views and services: owner, version, rows, freshness."""
    with opened(project) as platform:
        found = platform.inventory.entries(tags=tags or ())
    empty = f"Nothing has the tags {', '.join(tags)}. See all: tidemill features list" if tags else _NONE
    emit_rows([_row(one) for one in found], title="Features", empty=empty, as_json=as_json)


def search(
    words: Annotated[list[str], typer.Argument(help="Each has to be in the name, docs, owner, tags or columns.")],
    tags: _Tags = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Find views and services by words and tags."""
    with opened(project) as platform:
        found = platform.inventory.entries(" ".join(words), tags or ())
    empty = f"Nothing says {' '.join(words)!r}. See all: tidemill features list"
    emit_rows([_row(one) for one in found], title="Features", empty=empty, as_json=as_json)


def show(
    name: Annotated[str, typer.Argument(help="A feature view or service.")],
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Show one: columns, versions, consumers, statistics."""
    with opened(project) as platform:
        found = platform.inventory.show(name)
    if as_json:
        emit_json(found)
    else:
        _show(found)


def plan(project: Project = None, as_json: AsJson = False) -> None:
    """Show what `apply` would change, and whom it touches."""
    with opened(project) as platform:
        changes = platform.inventory.plan()
    rows = [msgspec.to_builtins(one) for one in changes] if as_json else [_planned(one) for one in changes]
    emit_rows(rows, title="What an apply changes", empty=_NONE, as_json=as_json)


def _row(entry: Entry) -> dict[str, Any]:
    fresh = entry.freshness
    return {
        "name": entry.name, "kind": entry.kind.removeprefix("feature_"), "version": entry.version,
        "edited": entry.edited, "owner": entry.owner, "tags": list(entry.tags), "uses": list(entry.uses),
        "features": entry.features, "rows": None if fresh is None else fresh.rows,
        "newest": None if fresh is None else when(fresh.newest), "lag_seconds": None if fresh is None else _seconds(fresh.lag),
        "target_seconds": None if fresh is None else _seconds(fresh.target), "stale": None if fresh is None else fresh.stale,
        "description": entry.description, "problem": entry.problem,
    }  # fmt: skip


def _seconds(micros: int | None) -> float | None:
    return None if micros is None else micros / 1_000_000


def _show(found: Detail) -> None:
    entry = found.entry
    facts = {
        **_row(entry), "keys": list(entry.keys), "ttl": None if found.ttl is None else format_duration(found.ttl),
        "used_by": list(found.consumers),
    }  # fmt: skip
    known = [
        {"what": name.replace("_", " "), "value": value} for name, value in facts.items() if value not in (None, [])
    ]
    emit_rows(known, title=entry.name, empty="", as_json=False)
    seen = {one.feature: one for one in found.statistics}
    columns = [_column(one.name, one.type, seen.get(one.name), found.meanings.get(one.name)) for one in found.columns]
    emit_rows(columns, title="Features", as_json=False,
              empty=entry.problem or "Its features are known once there are rows. Run: tidemill ingest")  # fmt: skip
    versions = [
        {
            "version": one.version, "current": one.current, "applied": when(one.applied_at), "by": one.applied_by,
            "digest": one.digest[:12], "changes": [change.text for change in one.changes],
        }
        for one in found.versions
    ]  # fmt: skip
    emit_rows(versions, title="Versions", empty="It was never applied. Run: tidemill apply", as_json=False)


def _column(name: str, kind: str, seen: Any, meaning: str | None) -> dict[str, Any]:
    row = {"feature": name, "type": kind}
    if seen is None:
        return {
            **row,
            "rows": None,
            "missing": None,
            "min": None,
            "mean": None,
            "max": None,
            "top": None,
            "meaning": meaning,
        }
    top = [f"{value} {share:.0%}" for value, share in seen.top]
    return {**row, "rows": seen.rows, "missing": seen.missing, "min": seen.min, "mean": seen.mean, "max": seen.max,
            "top": top, "meaning": meaning}  # fmt: skip


def _planned(change: FeatureChange) -> dict[str, Any]:
    versions = f"{change.before or '-'} → {change.after or '-'}" if change.before != change.after else str(change.after)
    return {
        "kind": change.kind, "name": change.name, "change": change.action, "version": versions,
        "what": [one.text for one in change.changes], "used_by": list(change.consumers),
        "backfill_rows": change.backfill,
    }  # fmt: skip
