"""Homes with models, and a server shared by the tests of a module."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Servers started by these tests import the project beside them; so do the tests, by the same names.
sys.path.insert(0, str(Path(__file__).parent))

from serving_harness import Home, Server, fill, serving


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    home.metadata.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with both endpoints ready, shared by the tests of a module."""
    home = Home(tmp_path_factory.mktemp("served"))
    fill(home)
    with serving(home) as server:
        server.until_ready()
        server.home = home
        yield server
    home.metadata.close()


@pytest.fixture
def ready_home(home: Home) -> Home:
    """Both endpoints have a champion: fare answers 2x, enriched ten times the letters of the station."""
    fill(home)
    return home
