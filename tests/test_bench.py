"""Every benchmark runs, on sizes that measure nothing, and its subjects agree on the answer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)


@pytest.mark.parametrize(
    ("name", "subjects"),
    [
        ("starting", {"bare python", "import tidemill", "tidemill --help"}),
        ("joins", {"polars join_asof", "tidemill"}),
        ("outofcore", {"polars join_asof", "tidemill"}),
        ("windows", {"numpy, sums between two searches", "tidemill"}),
        (
            "streams",
            {"tidemill, exact, answered, batches of 1,000", "tidemill, appended only", "tidemill, exact, answered"},
        ),
        ("online", {"lmdb get and decode", "tidemill", "tidemill, window of a day"}),
        ("stores", {"lmdb, put", "sqlite3, a wide row", "tidemill on lmdb", "tidemill on lmdb, 3 windows x 4"}),
        ("serving", {"uvicorn and the bare model", "tidemill, features in the request", "tidemill, features by key"}),
        ("metrics", {"sqlite3 insert and commit", "tidemill log_metric", "tidemill log_curve"}),
    ],
)
def test_a_benchmark_runs(tmp_path: Path, name: str, subjects: set[str]) -> None:
    done = bench(name, "--small", "--json", str(tmp_path / "bench.json"))
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "bench.json").read_text())
    assert {row["subject"] for row in found["rows"]} >= subjects
    assert all(row["value"] > 0 for row in found["rows"])
    assert found["rows"][0]["ratio"] == 1.0, "the first subject is the baseline"
    assert {"python", "polars"} <= set(found["versions"])
    assert "ratio" in done.stdout


def test_an_unknown_benchmark_is_named() -> None:
    done = bench("gravity")
    assert done.returncode == 2
    assert "no benchmark gravity; there are starting, joins" in done.stderr
