"""Stores in a temporary folder, and requests to capture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tidemill.core.clock import ManualClock
from tidemill.core.scope import Scope
from tidemill.monitoring.capture import Captures
from tidemill.stores.artifacts.open import open_artifacts
from tidemill.stores.artifacts.protocol import ArtifactStore
from tidemill.stores.metadata.open import open_metadata
from tidemill.stores.metadata.protocol import MetadataStore
from tidemill.stores.streams.open import open_streams
from tidemill.stores.streams.protocol import StreamStore
from tidemill.stores.tables.open import open_tables
from tidemill.stores.tables.protocol import TableStore


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
def streams(tmp_path: Path) -> Iterator[StreamStore]:
    store = open_streams("file:", tmp_path)
    yield store
    store.close()


@pytest.fixture
def tables(tmp_path: Path) -> TableStore:
    return open_tables("delta:", tmp_path)


@pytest.fixture
def captures(streams: StreamStore, tables: TableStore) -> Captures:
    return Captures(streams, tables)
