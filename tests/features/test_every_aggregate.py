"""Every aggregate over every kind of window: the batch, the stream one event at a time, and the oracle say the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.features.agreement import ARGUMENTS, NUMERIC, agree, of_oracle, tolerance, windows
from tests.features.tables import UTC

from tidemill.core.clock import ManualClock
from tidemill.core.scope import Scope
from tidemill.core.specs.aggregates import OPERATIONS, Aggregate
from tidemill.core.specs.features import FeatureService, FeatureView
from tidemill.core.specs.sources import Source
from tidemill.core.specs.windows import AnyWindow
from tidemill.features.kernel.windows import window_times
from tidemill.features.offline import offline_features
from tidemill.features.online import Online
from tidemill.stores.online.memory import MemoryOnline
from tidemill.testing import oracle

EVENTS = Source("events", time="at")
VALUES: dict[str, tuple[st.SearchStrategy[Any], pl.DataType]] = {
    "float": (st.sampled_from([None, 0.0, 0.1, -2.5, 1e16, float("nan"), 3.0]), pl.Float64()),
    "int": (st.none() | st.integers(-(2**40), 2**40), pl.Int64()),
    "text": (st.sampled_from([None, "", "x", "y"]), pl.String()),
}
_event = st.tuples(st.sampled_from(["a", "a", "b"]), st.integers(-12, 12))
_questions = st.lists(st.tuples(st.sampled_from(["a", "a", "b", "z"]), st.integers(-12, 14)), min_size=1, max_size=4)


def table(rows: list[oracle.Row], dtype: pl.DataType) -> pl.DataFrame:
    at = pl.Series([row.event for row in rows], dtype=pl.Int64).cast(UTC)
    return pl.DataFrame({
        "key": pl.Series([row.key[0] for row in rows], dtype=pl.String), "at": at, "event_ts": at, "created_ts": at,
        "value": pl.Series([row.value for row in rows], dtype=dtype),
        "ingest_seq": pl.Series([row.seq for row in rows], dtype=pl.Int64),
    })  # fmt: skip


@pytest.mark.parametrize("kind", list(VALUES))
@settings(max_examples=12)
@given(data=st.data(), window=windows, events=st.lists(_event, max_size=14), questions=_questions)
def test_batch_stream_and_oracle_agree(
    kind: str, data: st.DataObject, window: AnyWindow, events: list[tuple[str, int]], questions: list[tuple[str, int]]
) -> None:
    values = data.draw(st.lists(VALUES[kind][0], min_size=len(events), max_size=len(events)))
    rows = [
        oracle.Row((key,), at, at, i + 1, value)
        for i, ((key, at), value) in enumerate(zip(events, values, strict=True))
    ]
    operations = [name for name in OPERATIONS if (kind != "text" or name not in NUMERIC)
                  and (window.reach is not None or "rate" not in name)]  # fmt: skip
    view = FeatureView(None, source=EVENTS, keys="key", name="v", aggregates=[
        Aggregate(name, "value", (window,), 2 if name.endswith("_k") else 0, name, ARGUMENTS.get(name, ()))
        for name in operations
    ])  # fmt: skip
    service, stored = FeatureService([view], name="s"), table(rows, VALUES[kind][1])
    asked = pl.DataFrame({"key": [key for key, _ in questions], "t": [t for _, t in questions]})
    batch = offline_features(service, asked, "t", lambda source: stored.lazy()).drop("key", "t")
    online = Online(Scope("p", "me", ManualClock(0)), read=lambda source: stored.clear().lazy(), store=MemoryOnline())
    online.materialize([view])
    for place in range(len(rows)):
        online.apply_rows([view], EVENTS, stored[place : place + 1])
    stream = online.lookup(service, asked.select("key"), np.array([t for _, t in questions]))
    for name in operations:
        for place, (key, t) in enumerate(questions):
            options: dict[str, Any] = {"arguments": ARGUMENTS.get(name, ()), **of_oracle(window)}
            expected = oracle.aggregate(rows, (key,), t, name, k=2, **options)
            inside = oracle.aggregate(rows, (key,), t, "first_k", k=99, **options)
            for path, found in (("batch", batch), ("stream", stream)):
                got = found[f"v__{name}"].to_list()[place]
                assert agree(got, expected, tolerance(name, inside, expected)), (path, name, key, t, got, expected)
            exact = name not in ("sum", "mean", "sum_rate", "ewma") and "var" not in name and "stddev" not in name
            if exact:
                assert agree(stream[f"v__{name}"].to_list()[place], batch[f"v__{name}"].to_list()[place])


@given(window=windows, t=st.integers(-(10**16), 10**16))
def test_no_window_reaches_farther_than_it_says(window: AnyWindow, t: int) -> None:
    if window.reach is not None:
        start, end = window_times(window, np.array([t]))
        assert t - window.reach <= start.item() <= end.item() <= t
