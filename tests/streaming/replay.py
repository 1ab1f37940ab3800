"""The demo's landings, replayed: the example's own project on a broker, the same fed by a batch, and what both come to."""

from __future__ import annotations

import importlib.resources
import random
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import polars as pl
from polars.testing import assert_frame_equal
from tests.streaming.skies import PATIENCE, Service, await_inbox, kill, opened, send, serving

from tidemill.demo.year import FIRST_DAY, LAST_DAY, Year, midnight

EXAMPLE = "late_flights"
SOURCE = 'landings = tm.Source("landings", "data/flights.parquet", time="landed_at", id="flight_id")'
DAY = 86_400_000_000
RELATIVE = 1e-9
"""How much results of adding floats may differ."""


@dataclass(frozen=True)
class Landings:
    """So many landings from the first day of the demo on, in the order in which they happened.

    Args:
        year: The prepared year.
        count: How many; all until the end of the year when absent.
    """

    year: Year
    count: int | None = None

    @cached_property
    def rows(self) -> pl.DataFrame:
        begin, end = midnight(FIRST_DAY), midnight(LAST_DAY) + DAY
        landed = self.year.flights.drop("known").filter(pl.col("landed_at").cast(pl.Int64).is_between(begin, end - 1))
        return landed.sort("landed_at", "flight_id").head(self.count or landed.height)

    @cached_property
    def payloads(self) -> list[bytes]:
        """Each as a client of a broker would tell of it: a JSON object."""
        return [msgspec.json.encode(row) for row in self.rows.iter_rows(named=True)]

    @cached_property
    def planes(self) -> list[bytes]:
        """The plane of each: the key by which a broker divides them, so that each plane's landings stay in order."""
        return [plane.encode() for plane in self.rows["tailnum"]]

    @cached_property
    def asked(self) -> pl.DataFrame:
        """What a server is asked meanwhile: the flights of those days, each at its own time, and all once more at the end."""
        begin, end = self.rows["landed_at"].cast(pl.Int64).min(), self.rows["landed_at"].cast(pl.Int64).max()
        scheduled = pl.col("scheduled_at").cast(pl.Int64)
        columns = ["flight_id", "scheduled_at", "carrier", "origin", "dest", "distance"]
        flights = self.year.flights.filter(scheduled.is_between(begin, end)).select(columns)
        at_the_end = flights.unique(["carrier", "origin"], maintain_order=True).with_columns(
            scheduled_at=pl.lit(end).cast(flights.schema["scheduled_at"])
        )
        return pl.concat([flights, at_the_end])


@dataclass(frozen=True)
class State:
    """What a project came to: its table of landings, and every feature of every flight that was asked for."""

    landings: pl.DataFrame
    features: pl.DataFrame

    def assert_equal(self, other: State) -> None:
        """Every id once, every value of every landing, every feature."""
        counts = self.landings.height, self.landings["flight_id"].n_unique(), other.landings.height
        assert len(set(counts)) == 1, f"{counts} rows, ids and rows of the other: something is lost or there twice"
        assert_frame_equal(self.landings, other.landings)
        assert_frame_equal(self.features, other.features, rel_tol=RELATIVE, abs_tol=0)


def make_project(folder: Path, url: str | None) -> Path:
    """The example as it is, but for where its landings are read."""
    code = (importlib.resources.files("tidemill.demo") / f"{EXAMPLE}.py").read_text()
    assert code.count(SOURCE) == 1
    folder.mkdir(parents=True)
    (folder / f"{EXAMPLE}.py").write_text(code.replace(SOURCE, SOURCE.replace('"data/flights.parquet"', repr(url))))
    (folder / "tidemill.toml").write_text(f'project = "late-flights"\nfiles = ["{EXAMPLE}.py"]\n')
    return folder


def with_weather(folder: Path, landings: Landings) -> Path:
    """Take in the weather, which no broker brings."""
    with opened(folder) as platform:
        platform.data.ingest(platform.definitions.get("source", "weather"), frame=landings.year.weather)
        platform.features.materialize()
    return folder


def state(folder: Path, landings: Landings) -> State:
    asked = landings.asked
    with opened(folder) as platform:
        service = platform.definitions.get("feature_service", "late_flight")
        at = asked["scheduled_at"].cast(pl.Int64).to_numpy()
        features = platform.online.lookup(service, asked, at)
        rows = platform.data.scan(platform.definitions.get("source", "landings")).sort("flight_id").collect()
    return State(_typed(rows, landings.rows.schema), features)


def _typed(rows: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """JSON has no instants: those of other columns than the time are texts."""
    instants = [name for name, dtype in schema.items() if dtype.is_temporal() and rows.schema[name] == pl.String()]
    rows = rows.with_columns(pl.col(name).str.to_datetime(time_unit="us", time_zone="UTC") for name in instants)
    return rows.select(pl.col(name).cast(dtype) for name, dtype in schema.items())


@dataclass(frozen=True)
class Replay:
    """Landings, and what a batch of them comes to, online as offline."""

    landings: Landings
    batch: State

    @classmethod
    def of(cls, landings: Landings, folder: Path) -> Replay:
        with_weather(make_project(folder / "flights", None), landings)
        with opened(folder / "flights") as platform:
            platform.data.ingest(platform.definitions.get("source", "landings"), frame=landings.rows)
            platform.features.materialize()
            offline = platform.features.offline("late_flight", landings.asked, "scheduled_at")
        online = state(folder / "flights", landings)
        offline = offline.select(online.features.columns)
        assert_frame_equal(online.features, offline, rel_tol=RELATIVE, abs_tol=0)
        return cls(landings, online)

    def through(self, url: str, folder: Path, *, kills: int, limit: int = 500) -> State:
        """Send all landings; kill -9 whoever reads them, each time at some moment; let the last one read to the end."""
        landings = self.landings
        with_weather(make_project(folder, url), landings)
        send(url, folder, landings.payloads, landings.planes)
        with serving(folder, "landings", "--limit", str(limit), "--drain") as service:
            for number, batches in enumerate(moments(len(landings.payloads) // limit, kills), 1):
                kill_one(service, folder, number, batches)
            assert service.await_end() == 0, service.said.read_text()
        assert len(service.pids()) == kills + 1
        last = service.lines()[-1]
        assert 0 < last["taken"]["rows"] < landings.rows.height, "it had something left to do, and not all of it"
        assert (last["taken"]["dead"], last["taken"]["quarantined"], sum(last["lag"].values())) == (0, 0, 0)
        return state(folder, landings)


def moments(batches: int, kills: int) -> list[int]:
    """After how many durable batches to kill: once in each part of the replay, and never in the last part."""
    part = batches // (kills + 1)
    draw = random.Random()  # seeded by the system: a kill shall find something else under way every time
    return [number * part + draw.randint(1, part) for number in range(kills)]


def kill_one(service: Service, folder: Path, number: int, batches: int) -> None:
    """Kill the process that reads, the number-th, a moment after it made a batch durable: anywhere in its work."""
    ends = time.monotonic() + PATIENCE
    while len(service.pids()) < number:
        assert time.monotonic() < ends, service.said.read_text()
        time.sleep(0.01)
    await_inbox(folder, batches)
    time.sleep(random.Random().uniform(0, 0.05))
    kill(service.pids()[-1])
