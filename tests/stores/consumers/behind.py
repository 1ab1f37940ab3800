"""A broker at a URL, for the contract of one that is reached over a connection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tidemill.testing.consumer_suite import Breakable, Place, RemoteSuite


class BehindProxySuite(RemoteSuite):
    """`RemoteSuite` through a proxy that is cut. The module gives the fixtures `place` and `remote_url`."""

    @pytest.fixture
    def place(self, place: Place) -> Place:
        return place

    @pytest.fixture
    def way(self, remote_url: str, proxied: Callable[[str], tuple[Breakable, str]]) -> tuple[Breakable, str]:
        return proxied(remote_url)

    @pytest.fixture
    def remote(self, way: tuple[Breakable, str], tmp_path: Path) -> Place:
        return Place(way[1], tmp_path)

    @pytest.fixture
    def connection(self, way: tuple[Breakable, str]) -> Breakable:
        return way[0]
