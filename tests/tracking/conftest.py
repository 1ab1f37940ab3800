"""A project's stores in a temporary folder, and rows to make datasets of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tidemill.core.clock import ManualClock
from tidemill.core.scope import Scope
from tidemill.stores.artifacts.open import open_artifacts
from tidemill.stores.artifacts.protocol import ArtifactStore
from tidemill.stores.metadata.open import open_metadata
from tidemill.stores.metadata.protocol import MetadataStore
from tidemill.tracking.service import Tracking


@pytest.fixture
def scope(clock: ManualClock) -> Scope:
    return Scope("bikes", "ada", clock)


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
def rides() -> pl.DataFrame:
    """Six rides: id, time, two features, a label."""
    hour = 3_600_000_000
    return pl.DataFrame(
        {
            "ride": [1, 2, 3, 4, 5, 6],
            "at": pl.Series([hour * i for i in range(6)]).cast(pl.Datetime("us", "UTC")),
            "station": ["north", "south", None, "north", "east", "south"],
            "temp": [1.5, None, 3.0, 4.0, 5.0, 6.0],
            "late": [True, False, True, False, True, False],
        }
    )
