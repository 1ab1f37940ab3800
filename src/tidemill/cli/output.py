"""Answers for people and for scripts: a table, or the same as JSON."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from tidemill.core.times import format_time

if TYPE_CHECKING:
    from rich.console import Console

_UNLIMITED = 10_000
"""Columns of a table that no terminal limits: what `grep` and `less -S` get is never cut."""


def emit_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def emit_rows(rows: Sequence[Mapping[str, Any]], *, title: str, empty: str, as_json: bool) -> None:
    """Print rows as a table, or as a JSON array.

    Args:
        rows: The rows; the first one's keys are the columns.
        title: Above the table.
        empty: What to say and do next when there are no rows.
        as_json: JSON instead.
    """
    if as_json:
        emit_json(list(rows))
    elif not rows:
        print(empty)
    else:
        _print_table(rows, title)


def _print_table(rows: Sequence[Mapping[str, Any]], title: str) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for name in rows[0]:
        numeric = all(isinstance(row[name], int | float | None) for row in rows)
        table.add_column(name.replace("_", " "), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*[cell(value) for value in row.values()])
    _console().print(table)


def _console() -> Console:
    from rich.console import Console

    # What users wrote is shown as they wrote it: brackets are no markup, :words: no pictures.
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = _UNLIMITED
    return console


def cell(value: Any) -> str:
    """A value as people read it: thousands separated, four significant digits, `-` for none.

    Example:
        >>> [cell(12345), cell(0.123456), cell(None), cell(True)]
        ['12,345', '0.1235', '-', 'yes']
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {cell(item)}" for key, item in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(cell(item) for item in value) or "-"
    return str(value)


def when(micros: int | None) -> str | None:
    """A time of a record as text, to the second."""
    return None if micros is None else format_time(micros - micros % 1_000_000)
