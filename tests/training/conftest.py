"""A project's stores in a temporary folder, and flights to learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from tidemill.core.scope import Scope
from tidemill.registry.service import Registry
from tidemill.stores.metadata.protocol import MetadataStore
from tidemill.tracking.dataset import Dataset
from tidemill.tracking.service import Tracking
from tidemill.training.service import Training

HOUR = 3_600_000_000


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small models are fitted faster by one thread, above all when the machine is busy."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def training(scope: Scope, metadata: MetadataStore, tracking: Tracking, registry: Registry) -> Training:
    return Training(scope, metadata=metadata, tracking=tracking, registry=registry)


def flights(rows: int, start: int = 0, seed: int = 0) -> pl.DataFrame:
    """A flight an hour: a categorical, a number with gaps, and labels of several kinds."""
    rng = np.random.default_rng(seed + start)
    number = np.arange(start, start + rows)
    carrier = rng.choice(["AA", "DL", "UA"], rows)
    wind = rng.normal(10, 3, rows)
    delay = np.where(carrier == "UA", 6.0, 0.0) + wind + rng.normal(0, 2, rows)
    frame = pl.DataFrame({"flight": number, "carrier": carrier, "wind": wind, "delay": delay, "late": delay > 13})
    return frame.with_columns(
        pl.Series("at", number * HOUR).cast(pl.Datetime("us", "UTC")),
        carrier=pl.when(pl.col("flight") % 11 == 0).then(None).otherwise(pl.col("carrier")),
        wind=pl.when(pl.col("flight") % 7 == 0).then(None).otherwise(pl.col("wind")),
        minutes=pl.col("delay").round().cast(pl.Int64),
        speed=_cut("early", "fair", "slow"),
        stars=_cut(9, 10, 11).cast(pl.Int64),
    )


def _cut(low: Any, middle: Any, high: Any) -> pl.Expr:
    delay = pl.col("delay")
    return pl.when(delay < 9).then(pl.lit(low)).when(delay < 15).then(pl.lit(middle)).otherwise(pl.lit(high))


Make = Callable[..., Dataset]


@pytest.fixture
def make(tracking: Tracking) -> Make:
    """Keeps flights as a dataset."""

    def keep(label: str = "late", rows: int = 600, start: int = 0, **facts: Any) -> Dataset:
        given: dict[str, Any] = {"id": ["flight"], "time": "at", **facts}
        frame = given.pop("frame", None)
        return tracking.datasets.create(
            flights(rows, start) if frame is None else frame, name="flights", features=["carrier", "wind"], label=label, **given
        )  # fmt: skip

    return keep
