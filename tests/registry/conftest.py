"""A registry in a temporary folder, and models fitted on small rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from tidemill.core.clock import ManualClock
from tidemill.core.scope import Scope
from tidemill.registry.service import Registry
from tidemill.stores.artifacts.open import open_artifacts
from tidemill.stores.artifacts.protocol import ArtifactStore
from tidemill.stores.metadata.open import open_metadata
from tidemill.stores.metadata.protocol import MetadataStore
from tidemill.tracking.dataset import Dataset
from tidemill.tracking.service import Tracking


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small models are fitted faster by one thread, above all when the machine is busy."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def scope(clock: ManualClock) -> Scope:
    return Scope("flights", "ada", clock)


@pytest.fixture
def metadata(tmp_path: Path) -> Iterator[MetadataStore]:
    store = open_metadata("sqlite:", tmp_path)
    yield store
    store.close()


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return open_artifacts("file:", tmp_path)


@pytest.fixture
def tracking(scope: Scope, metadata: MetadataStore, artifacts: ArtifactStore, tmp_path: Path) -> Tracking:
    return Tracking(scope, metadata=metadata, artifacts=artifacts, folder=tmp_path)


@pytest.fixture
def registry(scope: Scope, metadata: MetadataStore, artifacts: ArtifactStore) -> Registry:
    return Registry(scope, metadata=metadata, artifacts=artifacts)


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
