"""A small real project, and the command line run on it as a user runs it."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

PROJECT = '''
"""Will a parcel be late?"""
import polars as pl
import tidemill as tm

parcels = tm.Source("parcels", "parcels.csv", time="shipped_at", id="parcel", types={"delivered_at": "time"},
                    checks=[tm.check("km").between(0, 5000)])
deliveries = tm.Source("deliveries", "parcels.csv", time="delivered_at", id="parcel")


def lateness(rows):
    return rows.with_columns(late=pl.col("hours") > 48)


carrier_delays = tm.FeatureView(lateness, source=deliveries, keys="carrier", aggregates=[tm.mean("late", over="14d")])


@tm.on_demand
def parcel_facts(rows):
    return rows.select("carrier", "km")


lateness_facts = tm.FeatureService([carrier_delays, parcel_facts])
late = tm.Label(parcels, pl.col("hours") > 48, known_at="delivered_at")


@tm.step
def fit(rows, depth=3):
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_depth=depth, max_iter=20).fit(rows.X, rows.y)


@tm.pipeline
def parcel_pipeline(until=tm.NOW):
    rows = lateness_facts.training_set(spine=parcels, label=late, until=until)
    fit_rows, test_rows = tm.split(rows, by="time", test="10d")
    best = tm.search(fit, rows=fit_rows, space={"depth": [2, 4]}, trials=2, maximize="roc_auc")
    return tm.promote(best, "parcels", test=test_rows, gate=tm.Gate("roc_auc"), refit=rows)


graph = tm.Graph("parcels").enrich(lateness_facts).model("models:/parcels@champion")
watch = tm.Monitor(graph, label=late, every="1d", on_alarm=[tm.notify("team"), tm.retrain(parcel_pipeline)])
'''
SETTINGS = 'project = "post"\nfiles = ["post.py"]\nexecutor = "inline"\n[channels]\nteam = "console:"\n'
BAD_KM = -7


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What a command with --json printed: one line of JSON and nothing else."""
        assert self.code == 0, self.err
        (line,) = self.out.splitlines()
        return json.loads(line)


Invoke = Callable[..., Done]


def parcel_rows(count: int = 500) -> list[dict[str, Any]]:
    """Parcels of two carriers, one of them slow; one row cannot be true."""
    draw, start = random.Random(7), datetime(2024, 1, 1, tzinfo=UTC)
    rows = []
    for number in range(count):
        carrier, km = draw.choice(["swift", "snail"]), draw.randint(10, 900)
        hours = round(24 + km / 30 + (20 if carrier == "snail" else 0) + draw.gauss(0, 6), 1)
        shipped = start + timedelta(minutes=150 * number)
        delivered = shipped + timedelta(hours=hours)
        rows.append({"parcel": f"p{number}", "shipped_at": shipped.isoformat(), "delivered_at": delivered.isoformat(),
                     "carrier": carrier, "km": BAD_KM if number == 3 else km, "hours": hours})  # fmt: skip
    return rows


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def make_project(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "post.py").write_text(PROJECT, encoding="utf-8")
    (folder / "tidemill.toml").write_text(SETTINGS, encoding="utf-8")
    write_csv(folder / "parcels.csv", parcel_rows())
    return folder


def invoke_in(folder: Path, *words: str | Path) -> Done:
    """Run `tidemill WORDS` in this process, in a folder, through the program's own entry point."""
    from tidemill.cli import main

    out, err, code = io.StringIO(), io.StringIO(), 0
    before, path = sys.argv, list(sys.path)
    sys.argv = ["tidemill", *map(str, words)]
    try:
        with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.argv, sys.path[:] = before, path
        sys.modules.pop("post", None)
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project that has seen nothing yet."""
    return make_project(tmp_path / "post")


@pytest.fixture
def invoke(folder: Path) -> Invoke:
    """`invoke("ingest", "--json")`: one command in the fresh project."""
    return lambda *words: invoke_in(folder, *words)


@pytest.fixture(scope="package")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has data, a champion and history. Tests only read it."""
    folder = make_project(tmp_path_factory.mktemp("trained") / "post")
    for words in (["apply"], ["ingest"], ["run", "parcel_pipeline"]):
        done = invoke_in(folder, *words)
        assert done.code == 0, done.err
    return folder


@pytest.fixture
def ask(trained: Path) -> Invoke:
    """`ask("runs", "list")`: one command in the project that has history."""
    return lambda *words: invoke_in(trained, *words)


PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the shell that runs the tests made of it
from tidemill.cli import main
sys.argv[0] = "tidemill"
main()
"""


@pytest.fixture
def command(folder: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`command("up", VARIABLE="value")`: the program in a process of its own, in the fresh project."""
    started = []

    def start(*words: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *words], cwd=folder, env={**os.environ, **environment}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
