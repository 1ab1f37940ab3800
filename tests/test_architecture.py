"""Rules about the whole repository that no linter knows: what an import loads, what files may contain."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {
    "alembic",
    "deltalake",
    "duckdb",
    "fsspec",
    "litestar",
    "lmdb",
    "numpy",
    "optuna",
    "pandas",
    "polars",
    "pyarrow",
    "scipy",
    "sklearn",
    "sqlalchemy",
    "uvicorn",
}


def loaded_by(source: str, *arguments: str) -> set[str]:
    """The top-level names in sys.modules after a fresh interpreter ran `source`."""
    report = "import atexit, json, sys; atexit.register(lambda: print(json.dumps(list(sys.modules))))\n"
    done = subprocess.run(
        [sys.executable, "-c", report + source, *arguments], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import tidemill") & HEAVY == set()


def test_importing_the_core_loads_nothing_heavy():
    modules = sorted((ROOT / "src/tidemill/core").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in modules]
    imports = "\n".join(f"import {name.removesuffix('.__init__')}" for name in names)
    assert loaded_by(imports) & HEAVY == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["demo", "--help"]])
def test_asking_the_command_line_for_help_loads_nothing_heavy(arguments):
    assert loaded_by("import tidemill.cli; tidemill.cli.main()", *arguments) & HEAVY == set()


def tracked_files() -> list[Path]:
    """Every text file of the repository."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:8192]]


def test_no_file_names_a_folder_of_somebody_s_machine():
    folders = "|".join(["/" + "work/", "/" + "root/", "/" + "home/[a-z]", "/" + "Users/[A-Za-z]", "/" + "tmp/v/"])
    pattern = re.compile(rf"(?<![\w.~-])(?:{folders})")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in tracked_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("name", ["package.json", "package-lock.json", "constraints/locked.txt"])
def test_lock_files_hold_no_addresses(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert '"resolved"' not in text
    assert not re.search(r"\b(?:git|file|npm):", text)


def test_constraints_are_exact_and_sorted():
    lines = (ROOT / "constraints/locked.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.+!]*", pin) for pin in pins)
    assert pins == sorted(pins)
