"""Writes docs/reference/cli.md from the command line itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from tidemill.cli.app import app
from tidemill.core.errors import EXIT_CODE

PAGE = Path(__file__).resolve().parent.parent / "docs/reference/cli.md"

HEAD = """\
# Commands

Every command works on the project of the folder it is called in, or the one above it; `--project FOLDER`, short `-C`, names
another one. What answers with a table answers with `--json` for scripts: one line on standard output, and nothing else
there. Progress and failures go to standard error. `tidemill --install-completion` completes commands in your shell,
`tidemill COMMAND --help` shows what this page shows, and `tidemill --version` says which version it is.
"""

TAIL = """\
## Exit codes

| code | meaning |
|---:|---|
| 0 | it worked |
{codes}

Ctrl-C ends any command with "Stopped."; what was being written is then as it was before. The [errors](errors.md) tell more.
`TIDEMILL_TRACEBACK=1` adds a traceback to any failure.
"""


def render() -> str:
    """The whole page."""
    sections = [HEAD, *(_section(" ".join(words), command) for words, command in _commands(_root())), _tail()]
    return "\n".join(sections)


def _root() -> Any:
    return typer.main.get_command(app)


def _commands(command: Any, *words: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "commands"):
        yield words, command
        return
    for name, inner in command.commands.items():
        if not inner.hidden:
            yield from _commands(inner, *words, name)


def _section(words: str, command: Any) -> str:
    rows = [_row(parameter) for parameter in command.params if parameter.name not in ("project", "as_json", "help")]
    table = ["| | |", "|---|---|", *rows, ""] if rows else []
    example = command.epilog.removeprefix("\b\n").splitlines()[1:]
    lines = [f"## tidemill {words}", "", command.help, "", *table, "```text", *(one.strip() for one in example), "```"]
    return "\n".join([*lines, ""])


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        shown = f"`{parameter.name.upper()}`" + (" …" if parameter.nargs == -1 else "")
    else:
        shown = ", ".join(f"`{option}`" for option in parameter.opts)
    text = parameter.help.replace("|", "\\|")
    default = parameter.default
    told = f" Default: `{default}`." if default not in (None, False, ()) and not callable(default) else ""
    return f"| {shown} | {text}{told} |"


def _tail() -> str:
    meanings: dict[int, list[str]] = {}
    for name, code in EXIT_CODE.items():
        meanings.setdefault(code, []).append(f"`{name}`")
    rows = "\n".join(f"| {code} | {', '.join(names)} |" for code, names in sorted(meanings.items()))
    return TAIL.format(codes=rows)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
