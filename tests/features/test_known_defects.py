"""Ready-made traps: inputs on which another feature store was seen to answer wrongly, with the right answers.

D1 to D5 are about windows, D6 about zeros that are taken for missing values, D8 about a mapping that differs between batch
and online. Each is answered offline, and online after every event was pushed by itself, in the order it arrived.
"""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.features.tables import HOUR, UTC

from tidemill.core.clock import ManualClock
from tidemill.core.scope import Scope
from tidemill.core.specs import aggregates as agg
from tidemill.core.specs.features import FeatureService, FeatureView
from tidemill.core.specs.sources import Source
from tidemill.features.offline import offline_features
from tidemill.features.online import Online
from tidemill.stores.online.lmdb import LmdbOnline

MINUTE = HOUR // 60
EVENTS = Source("events", time="at")


def clock(text: str) -> int:
    """`21:40` of a day, microseconds."""
    hours, minutes = text.split(":")
    return 19_000 * 24 * HOUR + int(hours) * HOUR + int(minutes) * MINUTE


def table(events: list[tuple[int, Any]]) -> pl.DataFrame:
    """Events in the order they arrive: time and value."""
    at = pl.Series([at for at, _ in events], dtype=pl.Int64).cast(UTC)
    return pl.DataFrame({"key": "k", "value": [value for _, value in events], "at": at}).with_columns(
        event_ts="at", created_ts="at", ingest_seq=pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
    )


class Answers:
    """A view's features offline, and online after each event was pushed by itself."""

    def __init__(self, folder: Path, view: FeatureView, events: list[tuple[int, Any]]) -> None:
        self.view, self.events, self.arrived = view, table(events), 0
        self.service = FeatureService([view], name="s")
        self.online = Online(Scope("p", "me", ManualClock(0)), read=self.read, store=LmdbOnline(folder))

    def read(self, source: Source) -> pl.LazyFrame:
        return self.events.head(self.arrived).lazy()

    def arrive(self, count: int) -> None:
        """The next events arrive, one by one."""
        for _ in range(count):
            if self.arrived == 0:
                self.online.materialize([self.view])
            self.arrived += 1
            self.online.apply_rows([self.view], EVENTS, self.events[self.arrived - 1 : self.arrived])

    def at(self, t: int) -> tuple[Any, ...]:
        """The features at a moment; both paths and the single vector agree on them."""
        asked = pl.DataFrame({"key": ["k"], "t": [t]})
        offline = offline_features(self.service, asked, "t", self.read).drop("key", "t").row(0)
        online = self.online.lookup(self.service, asked.select("key"), np.array([t])).row(0)
        vector = tuple(self.online.vector(self.service, {"key": "k"}, t).values())
        for other in (online, vector):
            assert [type(value) for value in other] == [type(value) for value in offline]
            assert np.array_equal(np.array(other, float), np.array(offline, float), equal_nan=True)
        return offline


def windowed(*aggregates: agg.Aggregate) -> FeatureView:
    return FeatureView(None, source=EVENTS, keys="key", aggregates=aggregates, name="v")


def test_d1_a_late_event_counts_in_a_sliding_window(tmp_path: Path) -> None:
    events = [(clock("21:40"), 1), (clock("22:00"), 1), (clock("21:45"), 100), (clock("22:01"), 1)]
    view = windowed(agg.sum("value", over="1h", hop="10m"), agg.count("value", over="1h", hop="10m"))
    answers = Answers(tmp_path, view, events)
    answers.arrive(2)
    assert answers.at(clock("22:02")) == (2, 2)
    answers.arrive(1)
    assert answers.at(clock("22:00") + 1) == (102, 3)
    answers.arrive(1)
    assert answers.at(clock("22:02")) == (103, 4)
    assert answers.at(clock("22:48")) == (103, 4)  # the start is rounded to 21:40
    assert answers.at(clock("22:50")) == (2, 2)


def test_d2_a_late_event_counts_in_a_tumbling_window(tmp_path: Path) -> None:
    events = [(clock("21:40"), 1), (clock("21:50"), 1), (clock("21:45"), 100), (clock("21:51"), 1)]
    closed = agg.sum("value", over="1h", mode="tumbling", name="closed")
    answers = Answers(tmp_path, windowed(agg.sum("value", over="1h", name="so_far"), closed), events)
    seen = []
    for at, _ in events:
        answers.arrive(1)
        seen.append(answers.at(max(at, clock("21:50")) + MINUTE)[0])
    assert seen == [1, 2, 102, 103]
    assert answers.at(clock("21:59")) == (103, None)
    assert answers.at(clock("22:00")) == (103, 103)
    assert answers.at(clock("22:59"))[1] == 103
    assert answers.at(clock("23:00")) == (None, None)


@pytest.mark.parametrize("values", [[100.1] * 12, [1.7e9 + i for i in range(12)], [1e8 + 0.1 * i for i in range(12)]])
def test_d3_a_spread_far_from_zero_keeps_its_digits(tmp_path: Path, values: list[float]) -> None:
    events = [(clock("21:40") + i * MINUTE, value) for i, value in enumerate(values)]
    spreads = [agg.stddev("value", over="1h"), agg.variance("value", over="1h"),
               agg.stddev("value", over="1h", population=True)]  # fmt: skip
    answers = Answers(tmp_path, windowed(*spreads), events)
    answers.arrive(12)
    exact = (statistics.stdev(values), statistics.variance(values), statistics.pstdev(values))
    assert answers.at(clock("22:00")) == (pytest.approx(exact, rel=1e-9) if exact[0] else (0.0, 0.0, 0.0))


def test_d3_the_figures_of_the_report(tmp_path: Path) -> None:
    far = [1.7e9 + i for i in range(12)]
    answers = Answers(
        tmp_path,
        windowed(agg.stddev("value", over="1h")),
        [(clock("21:40") + i * MINUTE, value) for i, value in enumerate(far)],
    )
    answers.arrive(12)
    assert answers.at(clock("22:00"))[0] == pytest.approx(3.605551275, rel=1e-9)


def test_d4_nan_is_gone_once_it_has_left_the_window(tmp_path: Path) -> None:
    events = [(clock("21:40"), 1.0), (clock("21:50"), math.nan), (clock("22:00"), 2.0), (clock("23:20"), 4.0)]
    view = windowed(agg.sum("value", over="1h"), agg.mean("value", over="1h"), agg.stddev("value", over="2h"),
                    agg.max("value", over="1h"))  # fmt: skip
    answers = Answers(tmp_path, view, events)
    answers.arrive(4)
    assert answers.at(clock("21:45"))[:2] == (1.0, 1.0)
    assert all(math.isnan(value) for value in answers.at(clock("22:10")))
    assert answers.at(clock("22:50") + 1)[:2] == (2.0, 2.0)
    assert answers.at(clock("23:55")) == (4.0, 4.0, pytest.approx(math.sqrt(2)), 4.0)


def test_d5_a_huge_value_leaves_no_trace(tmp_path: Path) -> None:
    events = [(clock("20:00"), 1e16)] + [(clock("20:00") + i * 10 * MINUTE, 1.0) for i in range(1, 13)]
    answers = Answers(tmp_path, windowed(agg.sum("value", over="1h"), agg.mean("value", over="1h")), events)
    answers.arrive(len(events))
    sums = [answers.at(clock("20:10") + i * 10 * MINUTE)[0] for i in range(12)]
    assert sums == [1e16 + i for i in range(6)] + [6.0] * 6
    assert answers.at(clock("21:10"))[1] == 1.0


@pytest.mark.parametrize("values", [[0, 0], [0.0, -0.0], [False, False]])
def test_d6_zeros_are_values(tmp_path: Path, values: list[Any]) -> None:
    events = [(clock("21:40"), values[0]), (clock("21:50"), values[1])]
    (tmp_path / "state").mkdir()
    state = Answers(tmp_path / "state", FeatureView(lambda rows: rows.select("value"), source=EVENTS, keys="key",
                                                    name="v"), events)  # fmt: skip
    state.arrive(2)
    assert state.at(clock("22:00")) == (values[1],)
    (tmp_path / "windows").mkdir()
    view = windowed(agg.sum("value", over="1h"), agg.mean("value", over="1h"), agg.last("value", over="1h"),
                    agg.max("value", over="1h"))  # fmt: skip
    windows = Answers(tmp_path / "windows", view, events)
    windows.arrive(2)
    assert windows.at(clock("22:00")) == (0, 0, values[1], 0)
    assert windows.at(clock("23:00")) == (None,) * 4


def test_d8_a_mapping_and_a_range_give_one_answer_in_batch_and_online(tmp_path: Path) -> None:
    def mapped(rows: pl.LazyFrame) -> pl.LazyFrame:
        level = pl.when(pl.col("value") < 5).then(0).when(pl.col("value") < 10).then(1)
        return rows.select(
            "value", unknown_kept=pl.col("value").replace({3: 0}), level=level,
            unknown_null=pl.col("value").replace_strict({3: 0, 5: 1}, default=None, return_dtype=pl.Int64),
        )  # fmt: skip

    view = FeatureView(mapped, source=EVENTS, keys="key", name="v")
    answers = Answers(tmp_path, view, [(clock("21:40"), 5), (clock("21:41"), 7), (clock("21:42"), 12)])
    expected = [(5, 5, 1, 1), (7, 7, 1, None), (12, 12, None, None)]
    for minute, row in zip(("21:40", "21:41", "21:42"), expected, strict=True):
        answers.arrive(1)
        assert answers.at(clock(minute)) == row
