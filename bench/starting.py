"""Starting: what every command and every notebook pays first."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.measure import Row, Size, durations, peer

PEERS = ("mlflow", "feast")


def run(size: Size, folder: Path) -> list[Row]:
    """Wall time of fresh processes."""
    subjects = {
        "bare python": process([sys.executable, "-c", "pass"]),
        "import tidemill": process([sys.executable, "-c", "import tidemill"]),
        "tidemill --help": process([sys.executable, "-m", "tidemill", "--help"]),
    }
    for name in PEERS:
        if (python := peer(name)) is not None:
            subjects[f"import {name}"] = process([str(python), "-c", f"import {name}"])
    return durations("start", subjects, size)


def process(command: Sequence[str]) -> Callable[[], object]:
    return lambda: subprocess.run(command, check=True, capture_output=True)
