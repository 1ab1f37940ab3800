"""`python busy.py FOLDER NAME SECONDS`: ingests, pushes, logs, labels, serves and predicts until the time is over.

Prints as JSON what was acknowledged. Any error ends it with a traceback.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from running import free_port, post, serving

import tidemill as tm
from tidemill.platform import Platform


@dataclass
class Done:
    run: str
    rides: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    labelled: list[str] = field(default_factory=list)
    steps: int = 0


def main(folder: Path, name: str, seconds: float) -> None:
    port = free_port()
    with tm.open(folder) as platform, serving(folder, port), platform.tracking.start(f"busy-{name}") as run:
        done = Done(run.id)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            number = done.steps
            _arrive(platform, folder, f"{name}-{number}", done)
            _predict(port, f"{name}-{number}", done)
            run.log_metrics({"round": number, "half": number / 2}, step=number)
            done.steps += 1
    print(json.dumps(asdict(done)))


def _arrive(platform: Platform, folder: Path, name: str, done: Done) -> None:
    """Rows come: some as they happen, and now and then a file."""
    rows = _rides(platform, name, 5)
    if done.steps % 10 == 9:
        path = folder / f"{name}.csv"
        rows.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")
        platform.ingest(["rides"], url=str(path))
    else:
        platform.push("rides", rows)
    done.rides += rows["ride"].to_list()


def _rides(platform: Platform, name: str, count: int) -> pl.DataFrame:
    at = pl.Series("at", [platform.scope.now()] * count).cast(pl.Datetime("us", "UTC"))
    names = [f"{name}-{number}" for number in range(count)]
    numbers = pl.Series(range(count), dtype=pl.Float64)
    stations = ["north", "south"] * (count // 2) + ["north"]
    return pl.DataFrame({"ride": names, "at": at, "station": stations, "distance": numbers, "fare": 2 * numbers})


def _predict(port: int, name: str, done: Done) -> None:
    ids = [f"asked-{name}-{number}" for number in range(8)]
    rows = [{"ride": one, "station": "north", "distance": 3.0} for one in ids]
    answer: Any = post(port, "/predict/fares", {"rows": rows})
    assert [one["row_id"] for one in answer["predictions"]] == ids
    done.asked += ids


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
