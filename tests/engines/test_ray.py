"""Ray, one for the session."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tidemill.core.errors import MissingExtra
from tidemill.engines.protocol import Engine
from tidemill.testing.engine_suite import EngineSuite
from tidemill.testing.feature_cases import offline, run

PUBLIC = Path(__file__).parent.parent / "cases" / "pit_cases.json"
SMOKE = ["tecton_late_stream_wall_clock_window", "first_last_k_with_ties"]


def test_public_cases(ray_engine: Engine) -> None:
    cases = {case["name"]: case for case in json.loads(PUBLIC.read_text())["cases"]}
    problems = {name: run(cases[name], lambda case: offline(case, ray_engine)) for name in SMOKE}
    assert problems == {name: [] for name in SMOKE}


def test_a_cluster_needs_the_client_of_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    module = pytest.importorskip("tidemill.engines.ray")
    monkeypatch.setattr(module.ray, "is_initialized", lambda: False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"the engine ray at 127\.0\.0\.1:9 .*tidemill\[ray\]"):
        module.open_ray("ray://127.0.0.1:9")


@pytest.mark.slow
class TestRay(EngineSuite):
    @pytest.fixture
    def engine(self, ray_engine: Engine) -> Engine:
        return ray_engine
