from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tidemill.core.errors import InvalidArgument, InvalidData
from tidemill.measures import bets, ranks
from tidemill.measures.blocks import BlockDetector, block_values, new_block_detector, update_blocks
from tidemill.measures.drift import compare
from tidemill.measures.evidence import Detector, Floor, large, named_features, new_detector, reaches, update
from tidemill.measures.profile import Profile
from tidemill.measures.profiling import profile_like, reference_profile
from tidemill.measures.risk import (
    RiskDetector,
    new_risk_detector,
    row_losses,
    scaled_errors,
    update_risk,
    upper_mean,
)

Draw = Callable[[np.random.Generator, int], dict[str, np.ndarray]]


def normals(features: int, shift: float = 0.0, moved: int = 0) -> Draw:
    def draw(rng: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
        return {f"f{i}": rng.normal(shift if i < moved else 0.0, 1.0, rows) for i in range(features)}

    return draw


def live(detector: Detector, reference: Profile, draw: Draw, windows: int, rows: int, seed: int) -> list[int]:
    """Windows at which the detector crosses."""
    rng = np.random.default_rng(seed)
    crossed = []
    for window in range(windows):
        detector, verdict = update(detector, profile_like(reference, draw(rng, rows)))
        if verdict.crossed:
            crossed.append(window)
    return crossed


def test_the_budget_of_false_alarms_is_kept() -> None:
    """One false alarm per 120 windows is allowed; nothing changes in twelve such periods."""
    alarms = []
    for month in range(12):
        rng = np.random.default_rng(1000 + month)
        reference = reference_profile(normals(10)(rng, 300))
        alarms.append(len(live(new_detector(reference, 120.0, seed=month), reference, normals(10), 120, 50, month)))
    assert np.mean(alarms) <= 1.0
    assert sum(found == 0 for found in alarms) >= 0.6 * len(alarms)


@pytest.mark.parametrize(("shift", "within"), [(0.5, 1), (0.25, 8)])
def test_a_shift_is_found_and_named(shift: float, within: int) -> None:
    delays = []
    for seed in range(5):
        reference = reference_profile(normals(20)(np.random.default_rng(seed), 2000))
        detector = new_detector(reference, 720.0, seed=seed)
        found = live(detector, reference, normals(20, shift, moved=5), 12, 100, seed)
        delays.append(found[0] + 1 if found else 99)
    assert np.median(delays) <= within


def test_e_values_average_at_most_one_while_nothing_changes() -> None:
    logs: dict[str, list[float]] = {}
    for seed in range(150):
        rng = np.random.default_rng(seed)

        def draw(rows: int, rng: np.random.Generator = rng) -> dict[str, list[object]]:
            gaps = rng.random(rows) < 0.1
            x = [None if gap else value for gap, value in zip(gaps, rng.normal(size=rows), strict=True)]
            return {"x": x, "c": rng.zipf(2.0, rows).astype(str).tolist()}

        reference = reference_profile(draw(100))
        detector = new_detector(reference, 1e9, seed=seed)
        for _ in range(4):
            detector, verdict = update(detector, profile_like(reference, draw(30)))
            for one in verdict.features:
                for kind, log_e in one.log_e.items():
                    logs.setdefault(f"{one.name}.{kind}", []).append(log_e)
    assert set(logs) == {"x.shares", "x.missing", "x.out_of_range", "c.shares", "c.missing", "c.unseen"}
    for kind, found in logs.items():
        e = np.exp(found)
        assert e.mean() <= 1 + 4 * e.std() / len(e) ** 0.5, kind
        assert e.mean() < 1.5, kind


def test_conformal_ranks_are_uniform_with_a_tiny_reference() -> None:
    found = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        shares = rng.dirichlet(np.ones(4))
        past, counts = rng.multinomial(15, shares), rng.multinomial(20, shares)
        found.append(ranks.conformal_ranks(past, counts, rng))
    assert stats.kstest(np.concatenate(found), "uniform").pvalue > 1e-3
    first = np.array([p[0] for p in found])
    last = np.array([p[-1] for p in found])
    assert abs(np.corrcoef(first, last)[0, 1]) < 0.2


@given(st.integers(1, 40), st.integers(0, 40), st.integers(1, 30), st.integers(0, 30))
def test_rate_p_values_are_the_hypergeometric_tail(past: int, marked_past: int, rows: int, marked: int) -> None:
    marked_past, marked = min(marked_past, past), min(marked, rows)
    rng = np.random.default_rng(0)
    found = ranks.rate_p_values((past, marked_past), rows, marked, rng)
    if found is None:
        assert marked + marked_past in (0, past + rows)
        return
    known = stats.hypergeom(past + rows, marked_past + marked, rows)
    assert known.sf(marked) - 1e-9 <= found[0] <= known.sf(marked - 1) + 1e-9
    assert found[0] + found[1] == pytest.approx(1.0)


@given(st.floats(1e-300, 1.0, exclude_min=True))
def test_calibrator_by_quadrature(p: float) -> None:
    kappa = (np.arange(20_000) + 0.5) / 20_000
    slow = np.logaddexp.reduce(np.log(kappa) + (kappa - 1) * math.log(p)) - math.log(20_000)
    assert bets.log_calibrated(p) == pytest.approx(slow, abs=1e-2)


def test_bets_are_fair_on_uniform_values() -> None:
    rng = np.random.default_rng(5)
    widths = np.array([0.7, 0.2, 0.1])
    p = rng.random((20_000, 5))
    assert np.mean([math.exp(bets.log_mixture(row)) for row in p]) == pytest.approx(1.0, abs=0.05)
    assert np.mean([math.exp(bets.log_dirichlet(row, widths)) for row in p]) == pytest.approx(1.0, abs=0.1)


def test_same_state_and_window_give_the_same_answer_through_json() -> None:
    reference = reference_profile(normals(2)(np.random.default_rng(0), 200))
    window = profile_like(reference, normals(2)(np.random.default_rng(1), 50))
    detector, _ = update(new_detector(reference, 30.0), window)
    stored = msgspec.json.decode(msgspec.json.encode(detector), type=Detector)
    assert stored == detector
    assert update(stored, window) == update(detector, window)


def test_missing_unseen_and_out_of_range_are_evidence_of_their_own() -> None:
    rng = np.random.default_rng(0)
    reference = reference_profile({"x": rng.normal(size=500), "c": rng.choice(["a", "b"], 500)})
    x = [None] * 40 + [99.0] * 9 + list(rng.normal(size=151))
    window = profile_like(reference, {"x": x, "c": ["new"] * 9 + ["a", "b"] * 90})
    _, verdict = update(new_detector(reference, 30.0), window)
    log_e = {one.name: one.log_e for one in verdict.features}
    assert log_e["x"]["missing"] > 10
    assert log_e["x"]["out_of_range"] > 2
    assert log_e["c"]["unseen"] > 5
    assert verdict.named[0] == "x"


def test_empty_windows_add_no_evidence_and_raise_nothing() -> None:
    reference = reference_profile({"x": [], "y": [1.0], "t": np.array(["2013-01-01"], dtype="datetime64[s]")})
    detector = new_detector(reference, 30.0)
    assert list(detector.features) == ["x", "y"]
    for _ in range(3):
        detector, verdict = update(detector, profile_like(reference, {"x": [], "y": []}))
        assert not verdict.crossed
    assert all(value == 0.0 for one in verdict.features for value in one.log_e.values())
    empty, nothing = update(new_detector(reference_profile({}), 30.0), profile_like(reference_profile({}), {}))
    assert (nothing.crossed, nothing.log_sr, empty.windows) == (False, None, 1)


def test_thinning_costs_evidence_not_validity() -> None:
    reference = reference_profile(normals(1)(np.random.default_rng(0), 2000))
    window = profile_like(reference, normals(1, 1.0, 1)(np.random.default_rng(1), 400))
    _, full = update(new_detector(reference, 1e6), window)
    _, thin = update(new_detector(reference, 1e6, design_effect=20.0), window)
    assert full.log_sr is not None
    assert thin.log_sr is not None
    assert 0 < thin.log_sr < full.log_sr / 4


def test_significant_is_not_large() -> None:
    rng = np.random.default_rng(0)
    reference = reference_profile(normals(2)(rng, 50_000))
    small = profile_like(reference, normals(2, 0.15, 1)(rng, 20_000))
    big = profile_like(reference, normals(2, 1.0, 1)(rng, 20_000))
    for window, expected in ((small, ()), (big, ("f0",))):
        _, verdict = update(new_detector(reference, 30.0, rows_per_window=20_000), window)
        assert verdict.crossed
        assert large(verdict, compare(reference, window), Floor()) == expected


def test_a_tiny_window_does_not_reach_the_floor_by_chance() -> None:
    reference = reference_profile(normals(1)(np.random.default_rng(0), 5000))
    window = profile_like(reference, {"f0": [0.0, 0.1, -0.1]})
    drift = compare(reference, window)[0]
    assert drift.js is not None
    assert drift.js > 0.1
    assert not reaches(drift, Floor())


def test_bad_settings_are_explained() -> None:
    reference = reference_profile({"x": [1.0, 2.0]})
    with pytest.raises(InvalidArgument, match="has no y"):
        new_detector(reference, 30.0, features=["y"])
    with pytest.raises(InvalidArgument, match="at least 1"):
        new_detector(reference, 0.5)
    with pytest.raises(InvalidArgument, match="other cells"):
        update(new_detector(reference, 30.0), reference_profile({"x": list(range(50))}))
    with pytest.raises(InvalidArgument, match="alarm always"):
        new_block_detector(0.1, {})
    assert named_features([], 30.0) == ()


def clustered(rng: np.random.Generator, rows: int, shift: float = 0.0) -> dict[str, np.ndarray]:
    """All rows of a window share most of their value, as the weather of one day."""
    return {f"f{i}": rng.normal(shift, 1.0) + rng.normal(0, 0.5, rows) for i in range(5)}


def blocks(seed: int, windows: int, shift: float = 0.0) -> BlockDetector:
    rng = np.random.default_rng(seed)
    days = [clustered(rng, 50) for _ in range(60)]
    reference = reference_profile({f"f{i}": np.concatenate([day[f"f{i}"] for day in days]) for i in range(5)})
    detector = new_block_detector(60.0, block_values(reference, [profile_like(reference, day) for day in days]), seed)
    for _ in range(windows):
        window = profile_like(reference, clustered(rng, 50, shift))
        values = {name: found[0] for name, found in block_values(reference, [window]).items()}
        detector, _ = update_blocks(detector, values)
    return detector


def test_whole_windows_keep_the_budget_when_rows_hang_together() -> None:
    assert np.mean([blocks(seed, 60).crossings for seed in range(10)]) <= 1.0


def test_whole_windows_find_what_is_new() -> None:
    assert np.median([blocks(seed, 12, shift=5.0).crossings for seed in range(5)]) >= 1


def test_blocks_without_values_stay_silent() -> None:
    state = new_block_detector(30.0, {"x": []})
    for value in (None, math.nan, 0.1, 0.2, None):
        state, verdict = update_blocks(state, {"x": value})
        assert not verdict.crossed
    assert state.features["x"].past == (0.1, 0.2)


@pytest.mark.parametrize("unit", ["row", "window"])
def test_losses_at_the_limit_keep_the_budget_and_worse_ones_are_found(unit: str) -> None:
    def crossings(loss: float, seed: int) -> int:
        rng = np.random.default_rng(seed)
        state = new_risk_detector(60.0, 0.2, unit=unit)  # type: ignore[arg-type]
        for _ in range(60):
            state, _ = update_risk(state, rng.random(80) < loss)
        return state.crossings

    assert np.mean([crossings(0.2, seed) for seed in range(30)]) <= 1.0
    assert np.mean([crossings(0.4, seed) for seed in range(5)]) >= 1.0


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1), max_size=20))
def test_risk_state_survives_json(losses: list[float]) -> None:
    state, verdict = update_risk(new_risk_detector(1e12, 0.3, 0.1), losses)
    assert msgspec.json.decode(msgspec.json.encode(state), type=RiskDetector) == state
    assert verdict.n == len(losses)
    assert math.isfinite(verdict.log_e)


def test_losses() -> None:
    assert row_losses("zero_one", [1, 0], [0.9, 0.9]).tolist() == [0.0, 1.0]
    assert row_losses("log_loss", [1], [0.0]).tolist() == [1.0]
    assert row_losses("brier", [1], [[0.2, 0.3, 0.5]]).tolist() == [pytest.approx((0.04 + 0.49 + 0.25) / 2)]
    assert upper_mean([]) is None
    assert upper_mean([0.5]) == 0.5
    with pytest.raises(InvalidArgument, match="hinge"):
        row_losses("hinge", [1], [0.5])  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="positive"):
        scaled_errors([1.0], [1.0], 0.0)
    with pytest.raises(InvalidData, match=r"in \[0, 1\]"):
        update_risk(new_risk_detector(30.0, 0.2), [3.0])
    with pytest.raises(InvalidArgument, match="inside"):
        new_risk_detector(30.0, 0.9, 0.2)
