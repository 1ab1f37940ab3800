"""The point-in-time join: ten features of a million rows as of a hundred thousand moments, from Parquet."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import polars as pl

import tidemill as tm
from bench.measure import Row, Size, durations, peer, row
from tidemill.features.offline import offline_features

FEATURES = [f"f{number}" for number in range(10)]
DAY = 86_400_000_000
FEAST = Path(__file__).with_name("feast_join.py")


def run(size: Size, folder: Path) -> list[Row]:
    """Tidemill's kernel against a bare join_asof on the same files."""
    rows, spine = folder / "rows.parquet", folder / "spine.parquet"
    make(size, rows, spine)
    found: dict[str, pl.DataFrame] = {}
    subjects = {
        "polars join_asof": lambda: found.update(raw=raw(rows, spine)),
        "tidemill": lambda: found.update(ours=ours(rows, spine)),
    }
    measured = durations("point-in-time join", subjects, size)
    assert found["ours"].select(FEATURES).equals(found["raw"].select(FEATURES)), "both have to find the same values"
    return measured + feast(rows, spine)


def make(size: Size, rows: Path, spine: Path) -> None:
    count, moments, entities = size.of(1_000_000), size.of(100_000), size.of(10_000)
    draw = np.random.default_rng(0)
    at = pl.Series("event_ts", draw.permutation(count) * (90 * DAY // count)).cast(pl.Datetime("us", "UTC"))
    values = {name: draw.normal(size=count) for name in FEATURES}
    pl.DataFrame({"entity": draw.integers(0, entities, count), "event_ts": at, "created_ts": at,
                  "ingest_seq": np.arange(count), **values}).write_parquet(rows)  # fmt: skip
    when = pl.Series("at", draw.integers(0, 90 * DAY, moments)).cast(pl.Datetime("us", "UTC"))
    pl.DataFrame({"entity": draw.integers(0, entities, moments), "at": when}).write_parquet(spine)


def service() -> tm.FeatureService:
    source = tm.Source("rows", "rows.parquet", time="event_ts")
    view = tm.FeatureView(lambda frame: frame.select(*FEATURES), source=source, keys="entity", name="view")
    return tm.FeatureService([view], name="service")


def ours(rows: Path, spine: Path) -> pl.DataFrame:
    frame = offline_features(service(), pl.read_parquet(spine), "at", lambda source: pl.scan_parquet(rows))
    return frame.rename({f"view__{name}": name for name in FEATURES})


def raw(rows: Path, spine: Path) -> pl.DataFrame:
    right = pl.scan_parquet(rows).select("entity", "event_ts", *FEATURES).sort("event_ts")
    left = pl.scan_parquet(spine).with_row_index().sort("at")
    joined = left.join_asof(
        right, left_on="at", right_on="event_ts", by="entity", strategy="backward", check_sortedness=False
    )
    return joined.sort("index").collect()


def feast(rows: Path, spine: Path) -> list[Row]:
    """The same by Feast, once, where its environment is installed."""
    python = peer("feast")
    if python is None:
        return []
    command = [str(python), str(FEAST), str(rows), str(spine), "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=rows.parent)
    answer = json.loads(done.stdout.splitlines()[-1])
    note = f"feast {answer['version']}, its default offline store; {answer['rows']:,} rows came back"
    return [row("point-in-time join", "feast", [one * 1000 for one in answer["seconds"]], "ms", note)]
