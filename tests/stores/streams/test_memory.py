"""Streams in memory: the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidemill.core.errors import InvalidArgument
from tidemill.stores.streams.memory import MemoryStreams
from tidemill.stores.streams.open import open_streams
from tidemill.testing.stream_suite import OpenStore, StreamSuite


class TestMemory(StreamSuite):
    @pytest.fixture
    def open_store(self) -> OpenStore:
        return MemoryStreams


def test_urls(tmp_path: Path) -> None:
    assert isinstance(open_streams("memory:", tmp_path), MemoryStreams)
    with pytest.raises(InvalidArgument, match=r"kafka.*file, memory"):
        open_streams("kafka://host", tmp_path)
