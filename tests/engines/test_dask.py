"""Dask, one for the session."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from tidemill.core.errors import Unavailable
from tidemill.engines.open import open_engine
from tidemill.engines.protocol import Engine, Keyed
from tidemill.testing.engine_suite import EngineSuite, unchanged
from tidemill.testing.feature_cases import offline, run

PUBLIC = Path(__file__).parent.parent / "cases" / "pit_cases.json"
SMOKE = ["tecton_late_stream_wall_clock_window", "first_last_k_with_ties"]


def test_public_cases(dask_engine: Engine) -> None:
    cases = {case["name"]: case for case in json.loads(PUBLIC.read_text())["cases"]}
    problems = {name: run(cases[name], lambda case: offline(case, dask_engine)) for name in SMOKE}
    assert problems == {name: [] for name in SMOKE}


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    dask = pytest.importorskip("tidemill.engines.dask")
    monkeypatch.setattr(dask, "ANSWER_WITHIN", 0.2)
    with pytest.raises(Unavailable, match=r"Dask at 127\.0\.0\.1:9 does not answer"):
        dask.open_dask("dask://127.0.0.1:9")


def test_the_client_of_the_process_is_joined_and_left_alone(dask_engine: Engine) -> None:
    other = open_engine("dask:")
    other.close()
    rows = Keyed.of(pl.DataFrame({"k": [1]}), ["k"])
    assert [part.height for part in dask_engine.map_partitions([rows], unchanged)] == [1]


class TestDask(EngineSuite):
    @pytest.fixture
    def engine(self, dask_engine: Engine) -> Engine:
        return dask_engine
