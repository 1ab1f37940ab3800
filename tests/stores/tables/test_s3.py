"""Delta tables in S3: the conformance suite, and what a server brings with it."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from tidemill.stores.tables.open import open_tables
from tidemill.testing.table_suite import OpenStore, TableStoreSuite


@pytest.mark.service
class TestS3(TableStoreSuite):
    @pytest.fixture
    def open_store(self, bucket: str, tmp_path: Path) -> OpenStore:
        return functools.partial(open_tables, f"s3://{bucket}/some/where", tmp_path)
