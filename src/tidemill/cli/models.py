"""`tidemill models ...`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.examples import examples
from tidemill.cli.opening import AsJson, Project, opened
from tidemill.cli.output import emit_json, emit_rows, when

if TYPE_CHECKING:
    from tidemill.platform import Platform

group = typer.Typer(help="Registered models, their versions and aliases.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add the commands about models."""
    app.add_typer(group, name="models")


@group.command("list", epilog=examples("tidemill models list", "tidemill models list --json"))
def list_models(project: Project = None, as_json: AsJson = False) -> None:
    """List the versions of all models, with their aliases."""
    with opened(project) as platform:
        rows = [row for model in platform.registry.models() for row in _versions(platform, model.name)]
    emit_rows(rows, title="Models", empty="No model yet. Run a pipeline that promotes one.", as_json=as_json)


@group.command(epilog=examples('tidemill models alias late-flight champion 3 --reason "back to the one before"'))
def alias(
    model: Annotated[str, typer.Argument(help="The model.")],
    name: Annotated[str, typer.Argument(help="The alias, such as champion.")],
    version: Annotated[int, typer.Argument(help="The version it shall point at.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the history.")] = "set by hand",
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Point an alias at a version: roll forward or back."""
    with opened(project) as platform:
        platform.registry.set_alias(model, name, version, reason=reason)
    if as_json:
        emit_json({"model": model, "alias": name, "version": version})
    else:
        print(f"{model}@{name} is version {version}.")


@group.command(epilog=examples("tidemill models history late-flight", "tidemill models history late-flight challenger"))
def history(
    model: Annotated[str, typer.Argument(help="The model.")],
    name: Annotated[str, typer.Argument(help="The alias.")] = "champion",
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Who moved an alias, when and why."""
    with opened(project) as platform:
        moves = platform.registry.history(model, name)
    rows = [
        {"at": when(m.created_at), "by": m.principal, "from": m.before, "to": m.after, "reason": m.reason}
        for m in moves
    ]
    emit_rows(rows, title=f"{model}@{name}", empty="The alias was never set.", as_json=as_json)


def _versions(platform: Platform, model: str) -> list[dict[str, Any]]:
    named: dict[int, list[str]] = {}
    for alias_name, number in platform.registry.aliases(model).items():
        named.setdefault(number, []).append(alias_name)
    return [
        {
            "model": model, "version": one.version, "aliases": named.get(one.version, []), "created": when(one.created_at),
            "trained_until": when(one.trained_until), "metrics": dict(list(one.metrics.items())[:3]),
        }
        for one in platform.registry.versions(model)
    ]  # fmt: skip
