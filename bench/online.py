"""Online reads: the newest values of one and of a hundred entities, and a window of a day, from LMDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import msgspec
import numpy as np
import polars as pl

import tidemill as tm
from bench.measure import Row, Size, medians
from tidemill.core.clock import ManualClock
from tidemill.core.scope import Scope
from tidemill.features.online import Online
from tidemill.stores.online.open import open_online

FEATURES = [f"f{number}" for number in range(10)]
DAY = 86_400_000_000
NOW = 30 * DAY
SOURCE = tm.Source("rows", "rows.parquet", time="event_ts")
STATE = tm.FeatureService(
    [tm.FeatureView(lambda frame: frame.select(*FEATURES), source=SOURCE, keys="entity", name="state")],
    name="state_service",
)
WINDOW = tm.FeatureService(
    [tm.FeatureView(source=SOURCE, keys="entity", aggregates=[tm.mean("f0", over="1d")], name="day")],
    name="day_service",
)


def run(size: Size, folder: Path) -> list[Row]:
    """Microseconds of the median read."""
    rows, calls = make(size), size.of(300)
    keys = np.random.default_rng(3).integers(0, rows["entity"].n_unique(), (calls, 100)).tolist()
    asked = [(some, pl.DataFrame({"entity": some})) for some in keys]
    with filled(rows, folder) as online, plain(rows, folder) as get:
        one, hundred = one_by_one(online, get), by_hundred(online, get)
        return [
            *medians("online read, 1 entity, p50", one, [some[0] for some in keys], size),
            *medians("online read, 100 entities, p50", hundred, asked, size),
        ]


Get = Callable[[list[int]], object]


def one_by_one(online: Online, get: Get) -> dict[str, Callable[[int], object]]:
    return {
        "lmdb get and decode": lambda key: get([key]),
        "tidemill": lambda key: online.vector(STATE, {"entity": key}, NOW),
        "tidemill, window of a day": lambda key: online.vector(WINDOW, {"entity": key}, NOW),
    }


def by_hundred(online: Online, get: Get) -> dict[str, Callable[[tuple[list[int], pl.DataFrame]], object]]:
    at = np.full(100, NOW)
    return {
        "lmdb get and decode": lambda asked: get(asked[0]),
        "tidemill": lambda asked: online.lookup(STATE, asked[1], at),
        "tidemill, window of a day": lambda asked: online.lookup(WINDOW, asked[1], at),
    }


def make(size: Size) -> pl.DataFrame:
    """Twenty events of each entity, one of them within the last day."""
    entities = size.of(5_000, least=100)
    count, draw = entities * 20, np.random.default_rng(2)
    at = pl.Series("event_ts", np.repeat(np.arange(20), entities) * (30 * DAY // 20) + DAY).cast(
        pl.Datetime("us", "UTC")
    )
    values = {name: draw.normal(size=count) for name in FEATURES}
    return pl.DataFrame({"entity": np.tile(np.arange(entities), 20), "event_ts": at, "created_ts": at,
                         "ingest_seq": np.arange(count), **values})  # fmt: skip


@contextmanager
def filled(rows: pl.DataFrame, folder: Path) -> Iterator[Online]:
    store = open_online("lmdb:", folder / "home")
    try:
        online = Online(Scope("bench", "bench", ManualClock(NOW)), read=lambda source: rows.lazy(), store=store)
        online.materialize([STATE.uses[0].view, WINDOW.uses[0].view])
        yield online
    finally:
        store.close()


@contextmanager
def plain(rows: pl.DataFrame, folder: Path) -> Iterator[Callable[[list[int]], object]]:
    """The least an online store does: one value per key, found and decoded, in one transaction."""
    environment = lmdb.open(str(folder / "plain"), map_size=1 << 28)
    newest = rows.group_by("entity").last()
    with environment.begin(write=True) as transaction:
        for entity, *values in newest.select("entity", *FEATURES).iter_rows():
            transaction.put(entity.to_bytes(8, "big"), msgspec.msgpack.encode(values))

    def get(keys: list[int]) -> object:
        with environment.begin() as transaction:
            return [msgspec.msgpack.decode(transaction.get(key.to_bytes(8, "big"))) for key in keys]

    yield get
    environment.close()
