"""The point-in-time join within a cap of memory: ten features of ten million rows as of a million moments, from Parquet."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import polars as pl

from bench.joins import make, raw, service
from bench.measure import Row, Size, row, timed
from tidemill.engines.open import open_engine
from tidemill.features.offline import offline_features

CASE = "point-in-time join 10 M x 1 M within 2 GiB"
ENGINE = "local:?memory=2GiB"
SUBJECTS = ("polars join_asof", "tidemill")


def run(size: Size, folder: Path) -> list[Row]:
    """Each repetition in a process of its own, since a process's peak never falls again; in turns."""
    files = [str(folder / "rows.parquet"), str(folder / "spine.parquet")]
    seconds: dict[str, list[float]] = {subject: [] for subject in SUBJECTS}
    peaks: dict[str, list[float]] = {subject: [] for subject in SUBJECTS}
    in_process("make", str(10 * size.share), *files)  # a child's peak begins at its parent's: this process stays small
    for _ in range(min(size.repetitions, 3)):
        for subject in SUBJECTS:
            found = json.loads(in_process("measure", subject, *files))
            seconds[subject].append(found["seconds"])
            peaks[subject].append(found["peak"])
    note = "MiB: the process's peak, imports and answers included"
    return [row(CASE, subject, seconds[subject], "s") for subject in SUBJECTS] + [
        row(CASE, subject, peaks[subject], "MiB", note) for subject in SUBJECTS
    ]


def in_process(*arguments: str) -> str:
    command = [sys.executable, "-m", "bench.outofcore", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def ours(rows: Path, spine: Path) -> pl.DataFrame:
    with closing(open_engine(ENGINE)) as engine:
        return offline_features(
            service(), pl.read_parquet(spine), "at", lambda source: pl.scan_parquet(rows), engine=engine
        )


def main(task: str, subject: str, rows: str, spine: str) -> None:
    if task == "make":
        make(Size(float(subject)), Path(rows), Path(spine))
        return
    work = {"polars join_asof": raw, "tidemill": ours}[subject]
    seconds = timed(lambda: work(Path(rows), Path(spine)))
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    print(json.dumps({"seconds": seconds, "peak": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
