"""What is picked out of batches is what holds among all rows."""

from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.features.kernel import newest
from tidemill.features.kernel.newest import Newest
from tidemill.testing import oracle

UTC = pl.Datetime("us", "UTC")
SCHEMA = {"k": pl.Int64, "j": pl.String, "event_ts": pl.Int64, "created_ts": pl.Int64, "ingest_seq": pl.Int64,
          "value": pl.Float64, "place": pl.Int64}  # fmt: skip
KEYS = [(1, "a"), (1, "b"), (11, "a"), (None, "a"), (1, None)]


def batch(rows: list[oracle.Row], places: range) -> pl.DataFrame:
    data = [(*row.key, row.event, row.known, row.seq, row.value, at) for at, row in zip(places, rows, strict=True)]
    return pl.DataFrame(data, SCHEMA, orient="row").with_columns(pl.col("event_ts", "created_ts").cast(UTC))


def answer(lookup: Newest, rows: list[oracle.Row], size: int) -> pl.DataFrame:
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        frame = batch(part, range(start, start + len(part)))
        lookup.keep(frame, lookup.candidates(frame))
    return lookup.answer(batch([], range(0)))


def some(draw: random.Random) -> list[oracle.Row]:
    """Rows with few, close times: ties, and rows between two questions, are common."""
    count = draw.choice([1, *[40] * 7])
    seqs = draw.sample(range(count), count)
    moments = [*range(-5, 6)]
    return [
        oracle.Row(draw.choice(KEYS), draw.choice(moments), draw.choice([None, -5, 0, 5]), seq, draw.random(), None)
        for seq in seqs
    ]


@given(draw=st.randoms(use_true_random=True), ttl=st.sampled_from([0, 3]), delay=st.sampled_from([0, 2]), known=st.booleans(),
       size=st.sampled_from([1, 4, 50]), held=st.sampled_from([0, 3]), far=st.booleans())  # fmt: skip
def test_the_state_is_the_one_the_oracle_finds(
    draw: random.Random, ttl: int, delay: int, known: bool, size: int, held: int, far: bool
) -> None:
    rows = some(draw)
    spine = [(draw.choice(KEYS), draw.randrange(-8, 9)) for _ in range(draw.choice([0, *[30] * 7]))]
    if far:  # times that are centuries apart go another way
        spine += [((1, "b"), -(2**61)), ((1, "b"), 2**61)]
    frame = pl.DataFrame([key for key, _ in spine], {"x": pl.Int32, "y": pl.Categorical}, orient="row")
    t = np.array([moment for _, moment in spine], np.int64)
    lookup = Newest(frame, ["x", "y"], ["k", "j"], t, ["place", "value"], ttl=ttl, delay=delay, known=known)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(newest, "HELD", held)
        patch.setattr(newest, "LEAST_HELD", 0)
        found = answer(lookup, rows, size)
    expected = [oracle.state(rows, key, moment, ttl=ttl, delay=delay, known=known) for key, moment in spine]
    assert found["place"].to_list() == [None if row is None else rows.index(row) for row in expected]
    assert found["value"].to_list() == [None if row is None else row.value for row in expected]


def test_no_more_rows_are_held_than_answers_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "LEAST_HELD", 0)
    lookup = Newest(pl.DataFrame({"k": [1, 2]}), ["k"], ["k"], np.array([10**6] * 2), ["value"])
    most = 0
    for at in range(0, 1000, 10):
        rows = [oracle.Row((1 + n % 2, None), n, None, n, float(n), None) for n in range(at, at + 10)]
        frame = batch(rows, range(at, at + 10))
        lookup.keep(frame, lookup.candidates(frame))
        most = max(most, lookup.held)
    assert most <= 3 * 2
    assert lookup.answer(frame)["value"].to_list() == [998.0, 999.0]
