"""The small Feast repository as a Tidemill project: converted, written, opened, its rows ingested."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from tests.features.feast import driver_data as data

from tidemill.core.clock import ManualClock
from tidemill.core.settings import load_settings
from tidemill.core.times import to_micros
from tidemill.features.feast.conversion import convert
from tidemill.features.feast.outcome import Conversion
from tidemill.features.feast.reading import decode
from tidemill.features.feast.repository import Repository
from tidemill.platform import Platform

HERE = Path(__file__).resolve().parent
PLAIN = {"trip_facts__speed": "speed", "trip_facts__is_long": "is_long", "expectation__expected_trips": "expected_trips",
         "prospects__prospect": "prospect"}  # fmt: skip
"""What is computed on demand has no prefix here."""


def told(path: Path = HERE / "repository.json") -> Repository:
    """The repository as Feast's probe told it."""
    return decode(path.read_bytes())


def write_rows(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, rows in data.ROWS.items():
        frame = pl.DataFrame(rows, schema=list(data.COLUMNS[name]), orient="row", infer_schema_length=None)
        frame.with_columns(
            pl.col(column).str.to_datetime(time_zone="UTC", time_unit="us")
            for column in data.TIMES
            if column in frame.columns
        ).write_parquet(folder / f"{name}.parquet")


def write_project(folder: Path, repository: Repository) -> Conversion:
    write_rows(folder / "repository" / "data")
    found = convert(repository, folder / "repository", folder)
    (folder / "features.py").write_text(found.text)
    (folder / "tidemill.toml").write_text('project = "drivers"\nfiles = ["features.py"]\n')
    return found


@contextmanager
def opened(folder: Path) -> Iterator[Platform]:
    """The project with its rows, at the moment Feast was asked."""
    clock = ManualClock(to_micros(data.NOW))
    with Platform(load_settings(folder, environ={}), clock=clock) as platform:
        platform.ingest(["driver_stats", "driver_ratings"])
        platform.apply()
        platform.features.materialize()
        yield platform


def historical(platform: Platform) -> list[dict[str, object]]:
    """Tidemill's answers for the past, to what `make_answers.py` asks Feast."""
    asked = [*data.ASKED, *data.LEFT_OUT]
    rows = pl.DataFrame(asked, schema=["driver_id", "event_timestamp", *data.REQUEST], orient="row")
    # Some of what is asked lies after the clock; for the past any moment will do.
    spine = rows.with_columns(pl.col("event_timestamp").str.to_datetime(time_zone="UTC", time_unit="us"))
    found = platform.features.offline("driver_activity", spine, "event_timestamp")
    return rows.select("driver_id", "event_timestamp").hstack(found.select(_features(found))).to_dicts()


def online(platform: Platform) -> list[dict[str, object]]:
    """Tidemill's answers for now."""
    rows = pl.DataFrame(data.ASKED_NOW, schema=["driver_id", *data.REQUEST], orient="row")
    return rows.select("driver_id").hstack(platform.features.online("driver_activity", rows)).to_dicts()


def _features(frame: pl.DataFrame) -> list[str]:
    return [name for name in frame.columns if "__" in name or name in PLAIN.values()]
