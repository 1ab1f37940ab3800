from __future__ import annotations

import datetime as dt
import itertools
import math

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import InvalidArgument
from tidemill.measures import moments as moments_
from tidemill.measures.drift import compare
from tidemill.measures.profile import Profile, merge, merge_all
from tidemill.measures.profiling import profile_frame, profile_like, reference_profile

numbers = st.one_of(st.none(), st.floats(), st.integers(-3, 3).map(float))
names = st.one_of(st.none(), st.sampled_from(["a", "b", "c", "new"]))
rows = st.lists(st.tuples(numbers, names, st.one_of(st.none(), st.booleans())), max_size=25)
REFERENCE = reference_profile(
    {"x": [float(i % 7) for i in range(50)], "c": ["a", "b", "a"] * 10, "b": [True, False] * 9}
)


def columns(part: list[tuple[object, ...]]) -> dict[str, list[object]]:
    return {name: [row[i] for row in part] for i, name in enumerate("xcb")}


@given(st.lists(rows, min_size=2, max_size=4), st.randoms())
def test_merging_in_any_order_is_counting_at_once(parts: list[list[tuple[object, ...]]], random: object) -> None:
    whole = profile_like(REFERENCE, columns(list(itertools.chain(*parts))))
    profiles = [profile_like(REFERENCE, columns(part)) for part in parts]
    random.shuffle(profiles)  # type: ignore[attr-defined]
    merged = merge_all(profiles, REFERENCE)
    for name, one in whole.features.items():
        other = merged[name]
        same = {f: getattr(one, f) == getattr(other, f) for f in one.__struct_fields__ if f != "moments"}
        assert all(same.values()), same
        assert one.moments.n == other.moments.n
    assert merged.n_rows == whole.n_rows


@given(st.lists(st.lists(st.floats(-1e3, 1e3), max_size=20), min_size=2, max_size=5), st.randoms())
def test_moments_merge_within_rounding(parts: list[list[float]], random: object) -> None:
    shards = [moments_.moments(part) for part in parts]
    random.shuffle(shards)  # type: ignore[attr-defined]
    merged, whole = moments_.merge_all(shards), moments_.moments(list(itertools.chain(*parts)))
    assert merged.n == whole.n
    assert merged.mean == pytest.approx(whole.mean, rel=1e-12, abs=1e-9)
    assert merged.m2 == pytest.approx(whole.m2, rel=1e-9, abs=1e-6)


@given(rows, rows)
def test_whatever_comes_effects_are_finite_or_none(a: list[tuple[object, ...]], b: list[tuple[object, ...]]) -> None:
    reference = reference_profile(columns(a), {"x": "numeric", "c": "categorical", "b": "boolean"})
    window = profile_like(reference, columns(b))
    assert msgspec.json.decode(msgspec.json.encode(window), type=Profile) == window
    for drift in compare(reference, window):
        for field in drift.__struct_fields__:
            value = getattr(drift, field)
            assert not isinstance(value, float) or math.isfinite(value), (field, value)


@given(rows)
def test_a_frame_counts_like_its_columns(part: list[tuple[object, ...]]) -> None:
    frame = pl.DataFrame(columns(part), schema={"x": pl.Float64, "c": pl.String, "b": pl.Boolean})
    assert profile_frame(frame, REFERENCE) == profile_like(REFERENCE, columns(part))


def test_numbers_are_taken_apart() -> None:
    x = REFERENCE["x"]
    window = profile_like(REFERENCE, {"x": [None, math.nan, math.inf, -math.inf, "text", -5.0, 3.0, 99.0], "c": []})
    one = window["x"]
    assert (one.n, one.missing, one.nan, one.infinite, one.invalid) == (8, 1, 1, 2, 1)
    assert (one.below, one.above, one.used) == (1, 1, 3)
    assert (one.min, one.max) == (-5.0, 99.0)
    assert one.absent == 3
    assert x.alone == 0


def test_a_column_that_vanished_is_missing_everywhere() -> None:
    window = profile_like(REFERENCE, {"x": [1.0] * 40, "other": [1] * 40})
    assert (window["c"].n, window["c"].missing) == (40, 40)
    drift = {one.name: one for one in compare(REFERENCE, window)}["c"]
    assert drift.missing_change == 1.0
    assert drift.psi is None
    assert drift.insufficient_data


def test_categories_beyond_the_top_are_known_but_not_named() -> None:
    reference = reference_profile({"c": [f"c{i:03}" for i in range(150)] + ["c000"]})
    one = reference["c"]
    assert (len(one.categories), len(one.rest), one.counts[-1]) == (100, 50, 50)
    assert one.alone == 149
    window = profile_like(reference, {"c": ["c149", "c000", "zzz"]})["c"]
    assert (window.counts[0], window.counts[-1], window.unseen) == (1, 1, 1)


def test_kinds_are_inferred() -> None:
    day = dt.datetime(2013, 4, 1, tzinfo=dt.UTC)
    profile = reference_profile(
        {
            "int": np.arange(3),
            "bool": [None, True, False],
            "text": np.array(["a", "b", "a"], dtype=object),
            "time": [day, None, day],
            "stamp": np.array(["2013-04-01", "NaT", "2013-04-02"], dtype="datetime64[D]"),
            "nothing": [None, None, None],
            "nested": [[1], [2], [1]],
        }
    )
    kinds = {name: one.kind for name, one in profile.features.items()}
    assert list(kinds.values()) == ["numeric", "boolean", "categorical", "time", "time", "categorical", "categorical"]
    assert profile["time"].low == profile["stamp"].low == 1364774400000000.0
    assert profile["stamp"].missing == 1
    assert profile["nested"].categories[0] == "[1]"


def test_polars_types() -> None:
    day = dt.datetime(2013, 4, 1, tzinfo=dt.UTC)
    frame = pl.DataFrame(
        {"t": [day, None], "d": [day.date()] * 2, "i": [1, 2], "l": [[1], [2]], "u": [dt.timedelta(1)] * 2}
    )
    profile = profile_frame(frame)
    assert [one.kind for one in profile.features.values()] == ["time", "time", "numeric", "categorical", "time"]
    assert profile["t"].low == profile["d"].low == 1364774400000000.0
    assert profile["t"].missing == 1


def test_extreme_numbers_stay_finite() -> None:
    profile = reference_profile({"x": [1e308, -1e308, 1e308, 10**400, 0.0]})
    one = profile["x"]
    assert one.invalid == 1
    assert math.isfinite(one.moments.m2)
    assert math.isfinite(moments_.merge(one.moments, one.moments).m2)


def test_profiles_of_different_cells_do_not_merge() -> None:
    other = reference_profile({"x": [1.0, 2.0], "c": ["a"], "b": [True]})
    with pytest.raises(InvalidArgument, match="profile_like"):
        merge(REFERENCE, other)
    with pytest.raises(InvalidArgument, match="different features"):
        merge(REFERENCE, reference_profile({"y": [1.0]}))
    with pytest.raises(InvalidArgument, match="not counted like"):
        compare(REFERENCE, reference_profile({"y": [1.0]}))


def test_effects_of_a_shift() -> None:
    rng = np.random.default_rng(1)
    reference = reference_profile({"x": rng.normal(size=20_000), "c": rng.choice(["a", "b"], 20_000)})
    window = profile_like(reference, {"x": rng.normal(0.5, 1, 5_000), "c": rng.choice(["a", "b", "n"], 5_000)})
    x, c = compare(reference, window)
    assert x.wasserstein == pytest.approx(0.5, abs=0.05)
    assert x.wasserstein_scaled == pytest.approx(0.5 / 1.349, abs=0.05)
    assert x.ks == pytest.approx(0.197, abs=0.03)
    assert x.psi is not None
    assert x.expected_psi is not None
    assert x.psi > 20 * x.expected_psi
    assert c.unseen_rate == pytest.approx(1 / 3, abs=0.03)
    assert c.tvd == pytest.approx(1 / 3, abs=0.03)
    assert c.ks is None
