"""One engine of each kind for all tests of a session: starting one takes seconds."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator

import pytest
from tests.fixtures.servers import Require

from tidemill.engines.open import open_engine
from tidemill.engines.protocol import Engine


def opened(url: str, require: Require, *modules: str) -> Iterator[Engine]:
    for module in modules:
        require(f"the package {module}", lambda module=module: importlib.util.find_spec(module) is not None)
    engine = open_engine(url)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def dask_engine(require: Require) -> Iterator[Engine]:
    yield from opened("dask:?workers=1&processes=no", require, "distributed")


@pytest.fixture(scope="session")
def ray_engine(require: Require) -> Iterator[Engine]:
    yield from opened("ray:?workers=1", require, "ray")


@pytest.fixture(scope="session")
def spark_engine(require: Require) -> Iterator[Engine]:
    require("Java", lambda: bool(shutil.which("java") or os.environ.get("JAVA_HOME")))
    yield from opened("spark:?workers=1", require, "pyspark", "pyarrow")
