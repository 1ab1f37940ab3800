"""Spark, one for the session."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tidemill.engines.protocol import Engine
from tidemill.testing.engine_suite import EngineSuite
from tidemill.testing.feature_cases import offline, run

# PySpark asks for pandas, of which nothing here is used, in an older version than others need.
pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")

PUBLIC = Path(__file__).parent.parent / "cases" / "pit_cases.json"
SMOKE = ["tecton_late_stream_wall_clock_window"]


def test_public_cases(spark_engine: Engine) -> None:
    cases = {case["name"]: case for case in json.loads(PUBLIC.read_text())["cases"]}
    problems = {name: run(cases[name], lambda case: offline(case, spark_engine)) for name in SMOKE}
    assert problems == {name: [] for name in SMOKE}


@pytest.mark.slow
class TestSpark(EngineSuite):
    @pytest.fixture
    def engine(self, spark_engine: Engine) -> Engine:
        return spark_engine
