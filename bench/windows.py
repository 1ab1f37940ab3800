"""Exact windows: mean and count over an hour and a day, of a million events, at a hundred thousand moments, and of more."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import tidemill as tm
from bench.measure import Row, Size, durations, in_turns, row
from tidemill.features.offline import offline_features

DAY, HOUR = 86_400_000_000, 3_600_000_000
NAMES = ["amount_mean_1h", "amount_mean_24h", "amount_count_1h", "amount_count_24h"]


def run(size: Size, folder: Path) -> list[Row]:
    """Tidemill against a few lines of NumPy that know the question."""
    events, spine = make(size, 1)
    found: dict[str, dict[str, Any]] = {}
    subjects = {
        "numpy, sums between two searches": lambda: found.update(raw=raw(events, spine)),
        "tidemill": lambda: found.update(ours=ours(events, spine)),
    }
    measured = durations("exact windows", subjects, size)
    for name in NAMES:
        np.testing.assert_allclose(found["ours"][name], found["raw"][name], rtol=1e-6, atol=1e-9)
    return measured + doubled(size)


def doubled(size: Size) -> list[Row]:
    """What an event costs where there are twice as many, and twice as many moments: n log n adds one part in twenty a time."""
    counts = {share: size.of(int(1_000_000 * share)) for share in (0.25, 0.5, 1, 2)}
    seconds = in_turns({str(share): partial(ours, *make(size, share)) for share in counts}, size.repetitions)
    return [
        row("exact windows, an event", f"{count:,} events", [one / count * 1e9 for one in seconds[str(share)]],
            "ns")
        for share, count in counts.items()
    ]  # fmt: skip


def make(size: Size, share: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    count, moments, entities = size.of(int(1_000_000 * share)), size.of(int(100_000 * share)), size.of(10_000)
    draw = np.random.default_rng(1)
    at = pl.Series("event_ts", np.sort(draw.integers(0, 30 * DAY, count))).cast(pl.Datetime("us", "UTC"))
    events = pl.DataFrame({"entity": draw.integers(0, entities, count), "event_ts": at, "created_ts": at,
                           "ingest_seq": np.arange(count), "amount": draw.random(count)})  # fmt: skip
    when = pl.Series("at", draw.integers(0, 30 * DAY, moments)).cast(pl.Datetime("us", "UTC"))
    return events, pl.DataFrame({"entity": draw.integers(0, entities, moments), "at": when})


def service() -> tm.FeatureService:
    source = tm.Source("events", "events.parquet", time="event_ts")
    aggregates = [tm.mean("amount", over=["1h", "24h"]), tm.count("amount", over=["1h", "24h"])]
    return tm.FeatureService(
        [tm.FeatureView(source=source, keys="entity", aggregates=aggregates, name="view")], name="service"
    )


def ours(events: pl.DataFrame, spine: pl.DataFrame) -> dict[str, Any]:
    frame = offline_features(service(), spine, "at", lambda source: events.lazy())
    counts = {name: frame[f"view__{name}"].fill_null(0).to_numpy() for name in NAMES if "count" in name}
    return counts | {name: frame[f"view__{name}"].to_numpy() for name in NAMES if "mean" in name}


def raw(events: pl.DataFrame, spine: pl.DataFrame) -> dict[str, Any]:
    entity, at, amount = (events[name].to_physical().to_numpy() for name in ("entity", "event_ts", "amount"))
    order = np.lexsort((at, entity))
    places = entity[order] * (40 * DAY) + at[order]
    sums = np.concatenate([[0.0], np.cumsum(amount[order])])
    asked, t = spine["entity"].to_numpy() * (40 * DAY), spine["at"].to_physical().to_numpy()
    ends, found = np.searchsorted(places, asked + t), {}
    for name, width in (("1h", HOUR), ("24h", DAY)):
        starts = np.searchsorted(places, asked + np.maximum(t - width, 0))
        counts = ends - starts
        found[f"amount_count_{name}"] = counts
        found[f"amount_mean_{name}"] = np.where(counts, (sums[ends] - sums[starts]) / np.maximum(counts, 1), np.nan)
    return found
