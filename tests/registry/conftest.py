"""A registry in a temporary folder, and models fitted on small rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from tidemill.tracking.dataset import Dataset
from tidemill.tracking.service import Tracking


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small models are fitted faster by one thread, above all when the machine is busy."""
    with threadpool_limits(1):
        yield


def flights(rows: int = 200, seed: int = 0) -> pl.DataFrame:
    """Flights with a categorical, numbers with gaps, and labels of three kinds."""
    rng = np.random.default_rng(seed)
    carriers = ["AA", "UA", "DL", None]
    frame = pl.DataFrame(
        {
            "flight": np.arange(rows),
            "at": pl.Series(np.arange(rows) * 3_600_000_000).cast(pl.Datetime("us", "UTC")),
            "carrier": [carriers[i] for i in rng.integers(0, 4, rows)],
            "hour": rng.integers(0, 24, rows),
            "wind": rng.normal(10, 3, rows),
        }
    )
    delay = pl.col("hour") * 2.0 + pl.when(pl.col("carrier") == "UA").then(20).otherwise(0) + pl.col("wind")
    speed = pl.when(delay < 30).then(pl.lit("early")).when(delay < 50).then(pl.lit("fair")).otherwise(pl.lit("slow"))
    gaps = pl.when(pl.col("flight") % 7 == 0).then(None).otherwise(pl.col("wind"))
    return frame.with_columns(delay=delay, late=delay > 40, speed=speed, wind=gaps)


def dataset(tracking: Tracking, label: str) -> Dataset:
    return tracking.datasets.create(
        flights(), name="flights", features=["carrier", "hour", "wind"], label=label, id=["flight"], time="at",
        request=["flight", "at", "carrier"], tables={"sources/flights": 1}, service="late_flight",
    )  # fmt: skip


@pytest.fixture
def rows(tracking: Tracking) -> Dataset:
    return dataset(tracking, "late")


@pytest.fixture
def make_rows(tracking: Tracking) -> Callable[[str], Dataset]:
    """Makes the dataset of one label: `late`, `speed` or `delay`."""
    return lambda label: dataset(tracking, label)
