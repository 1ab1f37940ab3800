"""Metadata in PostgreSQL: the contract; what a server brings with it is in `test_servers.py`."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from tidemill.stores.metadata.open import open_metadata
from tidemill.testing.metadata_suite import MetadataSuite, OpenStore


@pytest.mark.service
class TestPostgres(MetadataSuite):
    @pytest.fixture
    def open_store(self, schema_url: str, tmp_path: Path) -> OpenStore:
        return functools.partial(open_metadata, schema_url, tmp_path)
