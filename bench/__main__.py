"""`python -m bench [NAME ...] [--small] [--json FILE]`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.measure import Row, Size

NAMES = ("starting", "joins", "outofcore", "windows", "streams", "online", "stores", "serving", "metrics")
PACKAGES = (
    "tidemill", "polars", "numpy", "lmdb", "redis", "hiredis", "deltalake", "sqlalchemy", "scikit-learn", "uvicorn", "msgspec",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    size, console = Size(0.001 if options.small else 1.0), Console()
    load = os.getloadavg()[0]
    if load > 0.5 * (os.cpu_count() or 1):
        console.print(f"The machine is busy (load {load:.1f}): read the ratios, not the times.")
    rows = [row for name in options.names for row in measured(name, size, console)]
    if options.json is not None:
        options.json.write_text(json.dumps(document(rows, load), indent=2) + "\n")


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", default=NAMES, help=f"some of {', '.join(NAMES)}; all if absent"
    )
    parser.add_argument("--small", action="store_true", help="tiny sizes, to see that everything runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON, too")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    return options


def measured(name: str, size: Size, console: Console) -> list[Row]:
    """Run one benchmark in a folder of its own, and print its table."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, console.status(f"Measuring {name}"):
        rows: list[Row] = importlib.import_module(f"bench.{name}").run(size, Path(folder))
    console.print(table(rows, f"{name}, {time.perf_counter() - began:.0f} s"))
    for row in rows:
        if row.note:
            console.print(f"  {row.subject}: {row.note}", highlight=False)
    console.print()
    return rows


def table(rows: Sequence[Row], title: str) -> Table:
    shown = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for heading, justify in (("", "left"), ("median", "right"), ("least to most", "right"), ("ratio", "right")):
        shown.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    case = ""
    for row, ratio in with_ratios(rows):
        if row.case != case:
            shown.add_row(f"[italic]{row.case}[/italic]")
            case = row.case
        shown.add_row(
            f"  {row.subject}",
            f"{shortly(row.value)} {row.unit}",
            " to ".join(map(shortly, row.spread)),
            f"{ratio:.2f}",
        )
    return shown


def shortly(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def with_ratios(rows: Sequence[Row]) -> Iterator[tuple[Row, float]]:
    """Each row with its share of the first one of the same case and unit."""
    for _, group in groupby(rows, key=lambda row: (row.case, row.unit)):
        members = list(group)
        yield from ((member, member.value / members[0].value) for member in members)


def document(rows: Sequence[Row], load: float) -> dict[str, Any]:
    return {
        "machine": {"platform": platform.platform(), "processors": os.cpu_count(), "load": load},
        "versions": {
            "python": platform.python_version(),
            **{name: found for name in PACKAGES if (found := installed(name))},
        },
        "rows": [{**asdict(row), "ratio": ratio} for row, ratio in with_ratios(rows)],
    }


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
