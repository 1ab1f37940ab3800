"""Stores in a temporary folder, and requests to capture."""

from __future__ import annotations

import pytest

from tidemill.monitoring.capture import Captures
from tidemill.stores.streams.protocol import StreamStore
from tidemill.stores.tables.protocol import TableStore


@pytest.fixture
def captures(streams: StreamStore, tables: TableStore) -> Captures:
    return Captures(streams, tables)
