"""Online stores beside the least their engines do: filling them, one entity and a hundred, and a window of 1,000 events."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import polars as pl

import tidemill as tm
from bench.measure import Row, Size, medians, row, timed
from tidemill.core.clock import ManualClock
from tidemill.core.scope import Scope
from tidemill.features.online import Online
from tidemill.stores.online.protocol import OnlineStore
from tidemill.stores.registry import open_store

FEATURES = [f"f{number}" for number in range(10)]
HOUR = 3_600_000_000
NOW = 2_000 * HOUR
VALUES = struct.Struct("<10d")
SOURCE = tm.Source("rows", "rows.parquet", time="event_ts")
EVENTS = tm.Source("events", "events.parquet", time="event_ts")
STATE = tm.FeatureService(
    [tm.FeatureView(lambda frame: frame.select(*FEATURES), source=SOURCE, keys="entity", name="state")], name="of_state"
)
LENGTHS = [HOUR, 24 * HOUR, 1_000 * HOUR]
WINDOWS = tm.FeatureService(
    [tm.FeatureView(source=EVENTS, keys="entity", name="windows",
                    aggregates=[of("f0", over=LENGTHS) for of in (tm.count, tm.mean, tm.min, tm.max)])],
    name="of_windows",
)  # fmt: skip


def run(size: Size, folder: Path) -> list[Row]:
    """Rows per second of a fill, microseconds of a read."""
    rows, events = state_rows(size), window_rows()
    with ExitStack() as stack:
        embedded = {"sqlite3, a wide row": stack.enter_context(wide_rows(rows, folder))}
        engines = {"lmdb": stack.enter_context(raw_lmdb(folder))}
        urls = {"lmdb": "lmdb:"}
        with suppress(ImportError, FileNotFoundError):
            port = stack.enter_context(redis_server())
            engines["redis"] = stack.enter_context(raw_redis(port))
            urls["redis"] = f"redis://127.0.0.1:{port}/0"
        found = []
        for name, url in urls.items():
            store = open_store("online", url, folder / name)
            stack.callback(store.close)
            found += measure(name, engines[name], embedded if name == "lmdb" else {}, store, rows, events, size)
        return found


Engine = tuple[Callable[[dict[bytes, bytes]], object], Callable[[list[bytes]], list[Any]]]
"""Puts values under keys; gets values by key."""


Select = Callable[[list[int]], list[tuple[float, ...]]]
"""What an SQL database has of some entities."""

Asked = tuple[list[int], list[bytes], pl.DataFrame]
"""Entities, as numbers, as keys, and as rows."""


def measure(
    name: str,
    engine: Engine,
    others: dict[str, Select],
    store: OnlineStore,
    rows: pl.DataFrame,
    events: pl.DataFrame,
    size: Size,
) -> list[Row]:
    tables = {"rows": rows, "events": events}
    online = Online(Scope("b", "b", ManualClock(NOW)), read=lambda source: tables[source.name].lazy(), store=store)
    found = filling(name, engine, online, rows, size)
    online.materialize([use.view for service in (STATE, WINDOWS) for use in service.uses])
    keys = np.random.default_rng(5).integers(0, rows.height, (size.of(500), 100)).tolist()
    asked = [(some, [b"e%d" % key for key in some], pl.DataFrame({"entity": some})) for some in keys]
    at, get = np.full(100, NOW), engine[1]
    one: dict[str, Callable[[Asked], object]] = {
        f"{name}, get and unpack": lambda asked: unpacked(get(asked[1][:1])),
        **{other: lambda asked, select=select: select(asked[0][:1]) for other, select in others.items()},
        f"tidemill on {name}": lambda asked: online.vector(STATE, {"entity": asked[0][0]}, NOW),
    }
    hundred: dict[str, Callable[[Asked], object]] = {
        f"{name}, get and unpack": lambda asked: unpacked(get(asked[1])),
        **{other: lambda asked, select=select: select(asked[0]) for other, select in others.items()},
        f"tidemill on {name}": lambda asked: online.lookup(STATE, asked[2], at),
    }
    return [
        *found,
        *medians(f"{name}: read 1 entity, p50", one, asked, size),
        *medians(f"{name}: read 100 entities, p50", hundred, asked, size),
        *windowed(name, engine, online, events, size),
    ]


def windowed(name: str, engine: Engine, online: Online, events: pl.DataFrame, size: Size) -> list[Row]:
    """Three windows of a thousand events, beside the least that is to be done for them."""
    put, get = engine
    entities = events["entity"].unique().to_list()
    times = events.with_columns(pl.col("event_ts").cast(pl.Int64)).partition_by("entity", as_dict=True)
    put({b"w%d" % key: packed(times[(key,)]) for key in entities})
    subjects: dict[str, Callable[[int], object]] = {
        f"{name}, get a packed value, numpy": lambda key: list(reduced(get([b"w%d" % key])[0])),
        f"tidemill on {name}, 3 windows x 4": lambda key: list(online.vector(WINDOWS, {"entity": key}, NOW).values()),
    }
    for key in entities:
        plain, found = (call(key) for call in subjects.values())
        if not np.allclose(plain, found, rtol=1e-9):
            raise AssertionError(f"the windows of {key} are {found}, not {plain}")
    asked = np.random.default_rng(6).choice(entities, size.of(500)).tolist()
    return medians(f"{name}: 3 windows x 4 of 1,000 events, p50", subjects, asked, size)


def packed(events: pl.DataFrame) -> bytes:
    return events["event_ts"].to_numpy().tobytes() + events["f0"].to_numpy().tobytes()


def reduced(value: bytes) -> Iterator[float]:
    """Aggregates of a packed value, in the order of `WINDOWS`."""
    half = len(value) // 2
    at, values = np.frombuffer(value[:half], np.int64), np.frombuffer(value[half:], np.float64)
    parts = [values[at.searchsorted(NOW - length) : at.searchsorted(NOW)] for length in LENGTHS]
    yield from map(len, parts)
    for of in (np.mean, np.min, np.max):
        yield from map(of, parts)


def filling(name: str, engine: Engine, online: Online, rows: pl.DataFrame, size: Size) -> list[Row]:
    views = [use.view for use in STATE.uses]

    def plain() -> None:
        blob = np.ascontiguousarray(rows.select(FEATURES).to_numpy()).tobytes()
        entities = rows["entity"].to_list()
        engine[0]({b"e%d" % key: blob[80 * place : 80 * place + 80] for place, key in enumerate(entities)})

    taken: dict[str, list[float]] = {f"{name}, put": [], f"tidemill on {name}": []}
    for _ in range(size.repetitions):
        online.remove(views)
        for who, work in zip(taken, (plain, lambda: online.materialize(views)), strict=True):
            taken[who].append(timed(work))
    case = f"{name}: fill with {rows.height:,} x 10"
    return [row(case, who, [rows.height / one for one in seconds], "rows/s") for who, seconds in taken.items()]


def unpacked(values: list[bytes]) -> list[tuple[float, ...]]:
    return [VALUES.unpack(value) for value in values]


def state_rows(size: Size) -> pl.DataFrame:
    count, draw = size.of(100_000, least=200), np.random.default_rng(2)
    values = {name: draw.normal(size=count) for name in FEATURES}
    return stamped(pl.DataFrame({"entity": np.arange(count), **values}), np.full(count, NOW - HOUR))


def window_rows() -> pl.DataFrame:
    """A thousand events of each of ten entities within the longest window."""
    at = NOW - 1_000 * HOUR + np.tile(np.arange(1_000), 10) * HOUR
    frame = pl.DataFrame(
        {"entity": np.repeat(np.arange(10), 1_000), "f0": np.random.default_rng(4).normal(size=10_000)}
    )
    return stamped(frame, at)


def stamped(frame: pl.DataFrame, at: np.ndarray) -> pl.DataFrame:
    time_ = pl.Series(at).cast(pl.Datetime("us", "UTC"))
    return frame.with_columns(event_ts=time_, created_ts=time_, ingest_seq=np.arange(1, frame.height + 1))


@contextmanager
def wide_rows(rows: pl.DataFrame, folder: Path) -> Iterator[Select]:
    """What an embedded SQL database needs: a row of all features for each key."""
    database, columns = sqlite3.connect(folder / "wide.db"), ", ".join(FEATURES)
    database.execute(
        f"CREATE TABLE newest (entity INTEGER PRIMARY KEY, {', '.join(f'{one} REAL' for one in FEATURES)})"
    )
    marks = ", ".join("?" * (1 + len(FEATURES)))
    database.executemany(f"INSERT INTO newest VALUES ({marks})", rows.select("entity", *FEATURES).iter_rows())
    database.commit()

    def select(entities: list[int]) -> list[tuple[float, ...]]:
        marks = ", ".join("?" * len(entities))
        found = database.execute(f"SELECT {columns}, entity FROM newest WHERE entity IN ({marks})", entities).fetchall()
        by_entity = {values[-1]: values[:-1] for values in found}
        return [by_entity[entity] for entity in entities]

    yield select
    database.close()


@contextmanager
def raw_lmdb(folder: Path) -> Iterator[Engine]:
    environment = lmdb.open(str(folder / "plain"), map_size=1 << 30, metasync=False)

    def put(items: dict[bytes, bytes]) -> None:
        with environment.begin(write=True) as transaction:
            transaction.cursor().putmulti(sorted(items.items()))

    def get(keys: list[bytes]) -> list[Any]:
        with environment.begin() as transaction:
            return [transaction.get(key) for key in keys]

    yield put, get
    environment.close()


@contextmanager
def raw_redis(port: int) -> Iterator[Engine]:
    import redis

    client = redis.Redis(port=port, db=1)

    def put(items: dict[bytes, bytes]) -> None:
        pairs = list(items.items())
        for first in range(0, len(pairs), 5_000):
            client.mset(dict(pairs[first : first + 5_000]))

    yield put, client.mget
    client.close()


@contextmanager
def redis_server() -> Iterator[int]:
    """A server of our own, that writes nothing to the disk; its port."""
    program = shutil.which("redis-server")
    if program is None:
        raise FileNotFoundError("redis-server")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait()
