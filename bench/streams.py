"""Events into window state, answered with their features: 1,000 keys, two windows of four aggregates."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import tidemill as tm
from bench.measure import Row, Size, durations, peer, row
from bench.panes import PANE, Panes
from tidemill.core.clock import ManualClock
from tidemill.core.scope import Scope
from tidemill.features.online import Online
from tidemill.stores.online.open import open_online

HOUR = 3_600_000_000
BATCH = 1_000
SOURCE = tm.Source("events", "events.parquet", time="event_ts")
WINDOWS = ["1h", "24h"]
VIEW = tm.FeatureView(
    source=SOURCE,
    keys="key",
    aggregates=[
        tm.count("v", over=WINDOWS), tm.sum("v", over=WINDOWS), tm.mean("v", over=WINDOWS), tm.max("v", over=WINDOWS),
    ],
    name="moving",
)  # fmt: skip
SERVICE = tm.FeatureService([VIEW], name="moving_service")


def run(size: Size, folder: Path) -> list[Row]:
    """Microseconds an event, the store made durable batch by batch."""
    rows = make(size)
    few = rows[: size.of(20_000, least=20)]
    case, alone = f"events into windows, {rows.height:,} events", "events one by one"
    return [
        *durations(case, in_batches(rows, folder), size, per=rows.height, unit="us"),
        *by_peer("bytewax", "the panes in its stateful_map", case, rows, folder, size),
        *durations(alone, one_by_one(few, folder), size, per=few.height, unit="us"),
        *by_peer("storey", "windows to the pane", alone, few, folder, size),
    ]


def by_peer(name: str, how: str, case: str, rows: pl.DataFrame, folder: Path, size: Size) -> list[Row]:
    """The same by a peer, where its environment is installed; starting it does not count."""
    python = peer(name)
    if python is None:
        return []
    events = folder / f"{name}.json"
    columns = rows.select("key", pl.col("event_ts").to_physical(), "v")
    events.write_text(json.dumps(columns.rows()))
    command = [str(python), str(Path(__file__).with_name(f"{name}_stream.py")), str(events)]
    taken = []
    for _ in range(min(size.repetitions, 3)):
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
        answer = json.loads(done.stdout.splitlines()[-1])
        assert answer["answered"] == rows.height, "each event is to be answered"
        taken.append(answer["seconds"] * 1e6 / rows.height)
    return [row(case, name, taken, "us", f"{name} {answer['version']}, {how}, not durable")]


def in_batches(rows: pl.DataFrame, folder: Path) -> dict[str, Callable[[], object]]:
    return {
        "Python panes in a dict, 10 min, not durable": lambda: panes(rows),
        "tidemill, exact, answered, batches of 1,000": lambda: pushed(rows, folder, BATCH, answer=True),
        "tidemill, appended only": lambda: pushed(rows, folder, BATCH, answer=False),
    }


def one_by_one(rows: pl.DataFrame, folder: Path) -> dict[str, Callable[[], object]]:
    events = rows.to_dicts()
    return {
        "Python panes in a dict, 10 min, not durable": lambda: panes(rows),
        "tidemill, exact, answered": lambda: pushed_alone(rows, events, folder),
    }


def make(size: Size) -> pl.DataFrame:
    """Events spread evenly over 48 hours."""
    count, draw = size.of(100_000, least=2_000), np.random.default_rng(11)
    at = pl.Series("event_ts", np.arange(count) * (48 * HOUR // count)).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame({"key": draw.integers(0, 1_000, count), "v": draw.random(count) * 100, "event_ts": at,
                         "created_ts": at, "ingest_seq": np.arange(count) + 1})  # fmt: skip


def pushed(rows: pl.DataFrame, folder: Path, batch: int, *, answer: bool) -> int:
    """Append the events in batches; answer each with its features at its own time, those before it in the batch included."""
    answered = 0
    with opened(rows, folder) as online:
        for part in rows.iter_slices(batch):
            online.apply_rows([VIEW], SOURCE, part)
            if answer:
                at = part["event_ts"].to_physical().to_numpy()
                answered += online.lookup(SERVICE, part.select("key"), at).height
    return answered


def pushed_alone(rows: pl.DataFrame, events: list[dict[str, Any]], folder: Path) -> int:
    """Append and answer each event before the next one comes."""
    answered = 0
    with opened(rows, folder) as online:
        for event in events:
            answered += len(online.respond(SERVICE, SOURCE, event)) == 8
    return answered


@contextmanager
def opened(rows: pl.DataFrame, folder: Path) -> Iterator[Online]:
    home = folder / f"home-{next(_homes)}"
    store = open_online("lmdb:", home)
    try:
        online = Online(Scope("bench", "bench", ManualClock(60 * HOUR)), read=lambda source: rows.lazy().head(0),
                        store=store)  # fmt: skip
        online.materialize([VIEW])
        yield online
    finally:
        store.close()
        shutil.rmtree(home)


_homes = itertools.count()


def panes(rows: pl.DataFrame) -> int:
    """Count, sum, mean and maximum over panes of ten minutes, as much as plain Python does."""
    states: dict[int, Panes] = {}
    answers = 0
    for key, value, at in zip(rows["key"], rows["v"], rows["event_ts"].to_physical(), strict=True):
        state = states.get(key)
        if state is None:
            state = states[key] = Panes()
        answers += len(state.add(at // PANE, value)) == 8
    return answers
