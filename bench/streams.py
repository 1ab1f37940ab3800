"""Events into window state, answered with their features: 1,000 keys, two windows of four aggregates."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import tidemill as tm
from bench.measure import Row, Size, durations
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
    case = f"events into windows, {rows.height:,} events"
    return [
        *durations(case, in_batches(rows, folder), size, per=rows.height, unit="us"),
        *durations("events one by one", one_by_one(few, folder), size, per=few.height, unit="us"),
    ]


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
        answers += len(state.add(at // (HOUR // 6), value)) == 8
    return answers


class Panes:
    """The last day of one key in panes; running sums of both windows, maxima found over their panes."""

    SIZES = (6, 144)

    def __init__(self) -> None:
        self.newest = 0
        self.counts, self.sums, self.most = [0] * 144, [0.0] * 144, [float("-inf")] * 144
        self.count, self.sum = [0, 0], [0.0, 0.0]

    def add(self, pane: int, value: float) -> list[float]:
        for number in range(self.newest + 1, min(pane, self.newest + 144) + 1):
            for place, size in enumerate(self.SIZES):
                old = (number - size) % 144
                self.count[place] -= self.counts[old]
                self.sum[place] -= self.sums[old]
            new = number % 144
            self.counts[new], self.sums[new], self.most[new] = 0, 0.0, float("-inf")
        self.newest = max(pane, self.newest)
        place = pane % 144
        self.counts[place] += 1
        self.sums[place] += value
        self.most[place] = max(self.most[place], value)
        answer: list[float] = []
        for index, size in enumerate(self.SIZES):
            self.count[index] += 1
            self.sum[index] += value
            last = max(self.most[number % 144] for number in range(self.newest - size + 1, self.newest + 1))
            answer += [self.count[index], self.sum[index], self.sum[index] / self.count[index], last]
        return answer
