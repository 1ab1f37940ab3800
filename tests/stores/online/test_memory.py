"""The in-memory online store."""

from __future__ import annotations

import pytest

from tidemill.stores.online.memory import MemoryOnline
from tidemill.testing.online_suite import OnlineSuite


class TestMemoryOnline(OnlineSuite):
    @pytest.fixture
    def online(self) -> MemoryOnline:
        return MemoryOnline()
