"""Offline features through an engine: checks are counted, nothing is lost unseen, workers need none of the user's code."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence

import polars as pl
import pytest
from tests.features.tables import HOUR, Tables, keep

from tidemill.core.clock import ManualClock
from tidemill.core.errors import Unavailable, UserCodeError
from tidemill.core.specs import aggregates as agg
from tidemill.core.specs.checks import check
from tidemill.core.specs.features import FeatureService, FeatureView
from tidemill.core.specs.sources import Source
from tidemill.engines.local import LocalEngine
from tidemill.engines.protocol import Keyed, PartitionFunction
from tidemill.features import partitioned
from tidemill.features.offline import offline_features, planned_features
from tidemill.features.plan import plan_service
from tidemill.features.training import TrainingSets

weather = Source("weather", time="at", id="n")
temp = FeatureView(
    lambda rows: rows.select("temp"), source=weather, keys="place", name="temp", checks=[check("temp").between(0, 10)]
)
counts = FeatureView(
    source=weather, keys="place", name="counts", aggregates=[agg.count("n"), agg.sum("temp", over=HOUR)]
)
SPINE = pl.DataFrame({"place": ["b", "a", None, "zz"], "dest": ["a", "b", "a", None], "t": [9 * HOUR] * 4})


class Watched(LocalEngine):
    """Pickles what it is given, as a cluster would; may lose answers."""

    in_process = False

    def __init__(self, *, losing: bool = False) -> None:
        super().__init__(workers=2)
        self.calls = 0
        self.batches: list[int] = []
        self._losing = losing

    def map_partitions(
        self, inputs: Sequence[Keyed], function: PartitionFunction, partitions: int | None = None
    ) -> Iterator[pl.DataFrame]:
        self.calls += 1
        listed = [Keyed(keyed.schema, keyed.keys, list(keyed.batches)) for keyed in inputs]
        self.batches = [batch.height for batch in listed[0].batches]
        answers = list(super().map_partitions(listed, pickle.loads(pickle.dumps(function)), 4))
        yield from answers[1:] if self._losing else answers


@pytest.fixture
def tables() -> Tables:
    tables = Tables()
    rows = {"place": ["a", "b", None] * 20, "at": range(60), "temp": [float(n % 13) for n in range(60)], "n": range(60)}
    tables.add(weather, pl.DataFrame(rows))
    return tables


def test_a_view_used_twice_is_divided_once_and_keeps_the_order_of_rows(tables: Tables) -> None:
    service = FeatureService(
        [temp, counts, temp.on(place="dest").prefix("dest_"), counts.on(place="dest").prefix("d_")]
    )
    engine = Watched()
    found = offline_features(service, SPINE, "t", tables.scan, engine=engine)
    assert found.equals(offline_features(service, SPINE, "t", tables.scan))
    assert engine.calls == 2


def test_rows_come_in_batches_and_failed_checks_are_counted_over_all(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitioned, "BATCH_ROWS", 7)
    plan = plan_service(FeatureService([temp]), lambda source: tables.scan(source).collect_schema(), SPINE.schema, "t")
    told: dict[str, list[Mapping[str, int]]] = {"plain": [], "engine": []}
    engine = Watched()
    plain = planned_features(plan, SPINE, "t", tables.scan, failed=lambda view, one: told["plain"].append(dict(one)))
    found = planned_features(
        plan, SPINE, "t", tables.scan, failed=lambda view, one: told["engine"].append(dict(one)), engine=engine
    )
    assert found.equals(plain)
    assert told["engine"] == told["plain"] == [{"temp.between(0, 10)": 8}]
    assert len(engine.batches) > 5
    assert sum(engine.batches) < 40, "rows without a key are of no use"


def test_answers_that_are_lost_are_noticed(tables: Tables) -> None:
    with pytest.raises(Unavailable, match=r"engine 'local' gave \d answers to 4 questions"):
        offline_features(FeatureService([temp]), SPINE, "t", tables.scan, engine=Watched(losing=True))


def test_a_transform_that_raises_is_named_as_without_an_engine(tables: Tables) -> None:
    odd = FeatureView(
        lambda rows: rows.select(x=pl.col("place").cast(pl.Int64)), source=weather, keys="place", name="odd"
    )
    with pytest.raises(UserCodeError, match="the transform of feature view 'odd' raised InvalidOperationError"):
        offline_features(FeatureService([odd]), SPINE, "t", tables.scan, engine=Watched())


def test_training_sets_are_built_by_the_engine(tables: Tables) -> None:
    engine = Watched()
    sets = [TrainingSets(clock=ManualClock(99 * HOUR), reader=tables.reader, save=keep, engine=choice)
            for choice in (None, lambda: engine)]  # fmt: skip
    service = FeatureService([counts], name="s")
    plain, found = (
        one.training_set(service=service, spine=weather, label=None, until=99 * HOUR) for one in sets
    )  # fmt: skip
    assert found.frame.equals(plain.frame)  # type: ignore[attr-defined]
    assert engine.calls == 1
