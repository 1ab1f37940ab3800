"""State views in this process: their rows pass by in batches, and nothing is divided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl
import pytest
from pyarrow.parquet import ParquetFile
from tests.features.tables import HOUR, UTC, Tables

from tidemill.core.errors import UserCodeError
from tidemill.core.specs.changes import Changes
from tidemill.core.specs.checks import check
from tidemill.core.specs.features import FeatureService, FeatureView
from tidemill.core.specs.sources import Source
from tidemill.engines.local import LocalEngine
from tidemill.engines.protocol import Keyed, PartitionFunction
from tidemill.features import partitioned
from tidemill.features.offline import offline_features, planned_features
from tidemill.features.plan import plan_service

weather = Source("weather", time="at", created="told")
temp = FeatureView(
    lambda rows: rows.filter(pl.col("temp") != 5).select("place", "event_ts", "created_ts", "ingest_seq", "temp", "n"),
    source=weather, keys="place", name="temp", ttl=30, checks=[check("temp").between(0, 10)],
)  # fmt: skip
SPINE = pl.DataFrame(
    {"place": ["b", "a", None, "zz", "a"], "dest": ["a", "b", "a", None, "b"], "t": [59, 70, 9, 9, 17]}
)


class Counting(LocalEngine):
    """Counts how often it is asked to divide; as one elsewhere if told so."""

    def __init__(self, *, in_process: bool) -> None:
        super().__init__(workers=2)
        self.in_process = in_process
        self.calls = 0

    def map_partitions(
        self, inputs: Sequence[Keyed], function: PartitionFunction, partitions: int | None = None
    ) -> Iterator[pl.DataFrame]:
        self.calls += 1
        yield from super().map_partitions(inputs, function, partitions)


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Tables:
    monkeypatch.setattr(partitioned, "BATCH_ROWS", 7)
    tables = Tables()
    told = [n + 12 if n % 4 else None for n in range(60)]
    rows = {"place": ["a", "b", None] * 20, "at": range(60), "temp": [float(n % 13) for n in range(60)], "told": told}
    tables.add(weather, pl.DataFrame(rows).with_columns(n=pl.int_range(60)), created="told")
    return tables


@pytest.mark.parametrize("known", [False, True])
def test_rows_that_pass_by_give_what_divided_rows_give(tables: Tables, known: bool) -> None:
    plan = plan_service(
        FeatureService([temp, temp.on(place="dest").prefix("dest_")]),
        lambda source: tables.scan(source).collect_schema(), SPINE.schema, "t",
    )  # fmt: skip
    passing, dividing = Counting(in_process=True), Counting(in_process=False)
    told: list[Mapping[str, int]] = []
    answers = [
        planned_features(
            plan, SPINE, "t", tables.scan, known, lambda view, failed: told.append(dict(failed)), engine=engine
        )
        for engine in (None, passing, dividing)
    ]
    assert answers[0].equals(answers[1])
    assert answers[0].equals(answers[2])
    assert 0 < answers[0]["temp__n"].null_count() < SPINE.height
    assert told == [{"temp.between(0, 10)": 8}] * 3
    assert (passing.calls, dividing.calls) == (0, 1)


def test_a_transform_that_raises_is_named(tables: Tables) -> None:
    odd = FeatureView(
        lambda rows: rows.select(x=pl.col("place").cast(pl.Int64)), source=weather, keys="place", name="odd"
    )
    with pytest.raises(UserCodeError, match="the transform of feature view 'odd' raised InvalidOperationError"):
        offline_features(FeatureService([odd]), SPINE, "t", tables.scan)


def test_rows_that_go_again_are_divided() -> None:
    changes = Source("changes", time="at", changes=Changes(op="op"))
    tables = Tables()
    rows = {"place": ["a", "a", "a"], "at": [HOUR, HOUR, 2 * HOUR], "temp": [1.0, 1.0, 2.0], "op": ["+", "-", "+"]}
    tables.add(changes, pl.DataFrame(rows).with_columns(told=pl.Series([1, 5, 6]) * HOUR), created="told")
    latest = FeatureView(lambda rows: rows.select("temp"), source=changes, keys="place", name="latest")
    engine = Counting(in_process=True)
    asked = pl.DataFrame({"place": ["a"] * 3, "t": [4 * HOUR, 5 * HOUR, 6 * HOUR]})
    found = offline_features(FeatureService([latest]), asked, "t", tables.scan, engine=engine)
    assert found["latest__temp"].to_list() == [1.0, None, 2.0]
    assert engine.calls == 1


def test_what_no_question_reaches_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    moments = pl.int_range(3000, eager=True)
    rows = pl.DataFrame({"place": "a", "event_ts": moments.cast(UTC), "created_ts": None,
                         "ingest_seq": moments, "n": moments}, schema_overrides={"created_ts": UTC})  # fmt: skip
    rows.write_parquet(path, row_group_size=1000)
    stored = bytearray(path.read_bytes())
    for group in (0, 2):
        chunk = ParquetFile(path).metadata.row_group(group).column(4)
        place = chunk.dictionary_page_offset or chunk.data_page_offset
        stored[place : place + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    path.write_bytes(bytes(stored))
    with pytest.raises(pl.exceptions.PolarsError):
        pl.read_parquet(path)
    source = Source("rows", time="event_ts")
    view = FeatureView(lambda rows: rows.select("n"), source=source, keys="place", name="v", ttl=100)
    asked = pl.DataFrame({"place": ["a", "a"], "t": [1200, 1999]})
    found = offline_features(FeatureService([view]), asked, "t", lambda source: pl.scan_parquet(path))
    assert found["v__n"].to_list() == [1200, 1999]
