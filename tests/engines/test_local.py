"""This machine: in memory, on several threads, and from disk within a cap."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tidemill.core.errors import InvalidArgument
from tidemill.engines.local import LocalEngine, open_local
from tidemill.engines.protocol import Keyed
from tidemill.testing.engine_suite import EngineSuite, breaking, unchanged


class TestLocal(EngineSuite):
    @pytest.fixture
    def engine(self) -> LocalEngine:
        return LocalEngine(workers=2)


class TestLocalWithinAMemoryCap(EngineSuite):
    @pytest.fixture
    def engine(self) -> LocalEngine:
        return LocalEngine(memory=4096)


def test_its_url_says_workers_and_memory() -> None:
    engine = open_local("local:?workers=3&memory=2GiB")
    assert (engine.workers, engine.memory) == (3, 2**31)
    assert open_local("local:").workers >= 1
    with pytest.raises(InvalidArgument, match=r"no option 'wrokers'.*memory, workers"):
        open_local("local:?wrokers=3")
    with pytest.raises(InvalidArgument, match="has no address"):
        open_local("local://host:1")


def test_rows_beyond_the_cap_come_group_by_group_and_leave_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    rows = pl.DataFrame({"k": range(2000), "x": range(2000)})
    answers = LocalEngine(memory=64_000).map_partitions(
        [Keyed(rows.schema, ("k",), (rows[at : at + 100] for at in range(0, 2000, 100)))], unchanged
    )
    first = next(answers)
    assert list(tmp_path.glob("tidemill-spill-*/*.arrow"))
    parts = [first, *answers]
    assert len(parts) > 3
    assert max(part.estimated_size() for part in parts) * 8 <= 64_000
    assert pl.concat(parts).sort("k").equals(rows)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError, match="reading"):
        list(LocalEngine(memory=64_000).map_partitions([Keyed(rows.schema, ("k",), _ends_early(rows))], breaking))
    assert list(tmp_path.iterdir()) == []


def test_parts_that_do_not_fit_are_divided_again_and_one_key_never(monkeypatch: pytest.MonkeyPatch) -> None:
    # 800 rows of 16 bytes in 4 parts are 3.2 kB each; 1 kB fits. One key alone has 8 kB.
    monkeypatch.setattr("tidemill.engines.spill.BUCKETS", 4)
    rows = pl.DataFrame({"k": [*range(800), *[-1] * 500], "x": range(1300)})
    parts = list(LocalEngine(memory=8192, workers=1).map_partitions([Keyed.of(rows, ["k"])], unchanged))
    assert max(part.height for part in parts if -1 not in part["k"]) * 16 <= 1024
    assert [part["k"].to_list().count(-1) for part in parts if -1 in part["k"]] == [500]
    assert pl.concat(parts).sort("x").equals(rows)
    assert sum(part["k"].n_unique() for part in parts) == 801


def _ends_early(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    yield rows
    raise ZeroDivisionError("while reading")
