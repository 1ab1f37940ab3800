"""One engine of each kind for all tests of a session: starting one takes seconds."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator

import pytest

from tidemill.engines.open import open_engine
from tidemill.engines.protocol import Engine


def opened(url: str, *modules: str) -> Iterator[Engine]:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs the package {module}")
    engine = open_engine(url)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def dask_engine() -> Iterator[Engine]:
    yield from opened("dask:?workers=1&processes=no", "distributed")


@pytest.fixture(scope="session")
def ray_engine() -> Iterator[Engine]:
    yield from opened("ray:?workers=1", "ray")


@pytest.fixture(scope="session")
def spark_engine() -> Iterator[Engine]:
    if shutil.which("java") is None and not os.environ.get("JAVA_HOME"):
        pytest.skip("needs Java")
    yield from opened("spark:?workers=1", "pyspark", "pyarrow")
