"""`tidemill init`, `plan`, `apply` and `doctor`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from tidemill.cli.examples import examples
from tidemill.cli.opening import AsJson, Project, existing, opened
from tidemill.cli.output import emit_rows
from tidemill.core.errors import AlreadyExists, TidemillError
from tidemill.core.ids import check_name
from tidemill.core.settings import FILE_NAME, HOME_NAME
from tidemill.stores.disk import disk_errors

_TEMPLATE = """\
project = "{name}"
files = [{files}]

[channels]
team = "console:"        # or the URL of a webhook
"""


def add_to(app: typer.Typer) -> None:
    """Add the commands about the project as a whole."""
    app.command(epilog=examples("tidemill init", "tidemill init flights --name late-flights"))(init)
    app.command(epilog=examples("tidemill plan"))(plan)
    app.command(epilog=examples("tidemill apply", "tidemill apply --json"))(apply)
    app.command(epilog=examples("tidemill doctor", "tidemill doctor --json"))(doctor)


def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the project.")] = Path(),
    name: Annotated[str | None, typer.Option(help="Name of the project; the folder's when absent.")] = None,
) -> None:
    """Make a folder a project: write tidemill.toml."""
    path = folder / FILE_NAME
    if path.exists():
        raise AlreadyExists(f"{path} exists already", hint="Edit it, or choose another folder")
    if folder.exists() and not folder.is_dir():
        raise AlreadyExists(f"{folder} is a file", expected="a folder, which need not exist")
    project = check_name(name or _name_of(folder), "project name")
    files = sorted(file.name for file in folder.glob("*.py"))
    folder.mkdir(parents=True, exist_ok=True)
    _write(path, _TEMPLATE.format(name=project, files=", ".join(f'"{file}"' for file in files)))
    ignore = folder / ".gitignore"
    if not ignore.exists():
        _write(ignore, f"{HOME_NAME}/\n")
    listed = f"It lists {', '.join(files)}" if files else "List your Python files with definitions in it"
    print(f"Wrote {path}. {listed}; then run `tidemill apply`.")


def _name_of(folder: Path) -> str:
    return re.sub(r"[^a-z0-9_-]+", "-", folder.resolve().name.lower()).strip("-_") or "project"


def _write(path: Path, text: str) -> None:
    try:
        with disk_errors(path.name):
            path.write_text(text, encoding="utf-8")
    except TidemillError:
        path.unlink(missing_ok=True)
        raise


def plan(project: Project = None, as_json: AsJson = False) -> None:
    """Show what `apply` would change; change nothing."""
    with opened(project) as platform:
        _emit_changes(platform.plan(), as_json)


def apply(project: Project = None, as_json: AsJson = False) -> None:
    """Make the definitions of the project's files the current ones."""
    with opened(project) as platform:
        _emit_changes(platform.apply(), as_json)


def _emit_changes(changes: Any, as_json: bool) -> None:
    rows = [
        {"kind": change.kind, "name": change.name, "change": change.action, "used_by": list(change.consumers)}
        for change in changes
    ]
    emit_rows(
        rows,
        title="Definitions",
        empty=f"No definitions. List your Python files under files= in {FILE_NAME}.",
        as_json=as_json,
    )


def doctor(project: Project = None, as_json: AsJson = False) -> None:
    """Say what is configured, what answers, what to install."""
    from tidemill.diagnosis import diagnose

    findings = diagnose(existing(project))
    rows = [{"what": f.what, "configured": f.configured, "state": f.state, "detail": f.detail} for f in findings]
    emit_rows(rows, title="Doctor", empty="Nothing to examine.", as_json=as_json)
    if any(finding.state == "attention" for finding in findings):
        raise typer.Exit(6)
