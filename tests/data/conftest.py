"""The data room over real stores in a fresh home, and the real data of the project."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tidemill.core.clock import ManualClock
from tidemill.core.scope import Scope
from tidemill.data.service import Data
from tidemill.stores.artifacts.open import open_artifacts
from tidemill.stores.metadata.open import open_metadata
from tidemill.stores.streams.open import open_streams
from tidemill.stores.tables.open import open_tables

MakeData = Callable[..., Data]


@pytest.fixture
def make_data(tmp_path: Path, clock: ManualClock) -> Iterator[MakeData]:
    """Opens the same home anew, as another process would, or another project; the project folder is the test's own."""
    opened = []

    def make(project: str = "test") -> Data:
        home = tmp_path / ".tidemill"
        metadata = open_metadata("sqlite:", home)
        opened.append(metadata)
        return Data(
            Scope(project, "ada", clock), metadata=metadata, artifacts=open_artifacts("file:", home),
            tables=open_tables("delta:", home), streams=open_streams("file:", home), folder=tmp_path,
        )  # fmt: skip

    yield make
    for metadata in opened:
        metadata.close()


@pytest.fixture
def data(make_data: MakeData) -> Data:
    return make_data()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the project's real data: TIDEMILL_TEST_DATA, or `shared/data` beside the repository."""
    default = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("TIDEMILL_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"the data is not at {folder} (set TIDEMILL_TEST_DATA)")
    return folder
