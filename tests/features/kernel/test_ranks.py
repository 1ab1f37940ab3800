"""Values by rank, in ranges long enough for many levels, against sorted slices."""

from __future__ import annotations

import math
import statistics
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.features.kernel.ranks import Ordered, bucket_values, buckets, range_kth, range_medians, range_quantiles

random = np.random.default_rng(11)
SIZE = 3000
start, end = np.sort(random.integers(0, SIZE + 1, (2, 300)), axis=0)
start[:20] = end[:20]


@pytest.mark.parametrize("different", [1, 2, 1000, 10**12])
def test_the_kth_of_each_range(different: int) -> None:
    places = random.integers(0, different, SIZE)
    low, high = start[start < end], end[start < end]
    kth = random.integers(0, high - low)
    expected = [sorted(places[a:b].tolist())[k] for a, b, k in zip(low, high, kth, strict=True)]
    assert range_kth(places, low, high, kth).tolist() == expected


def test_medians() -> None:
    values = np.round(random.normal(size=SIZE), 2)
    expected = [statistics.median(values[a:b]) if a < b else math.nan for a, b in zip(start, end, strict=True)]
    assert np.array_equal(range_medians(Ordered(values), start, end), expected, equal_nan=True)


def test_few_ranges_give_what_many_give() -> None:
    values = random.normal(size=SIZE)
    values[5] = math.nan
    many = range_medians(Ordered(values), start, end)
    few = [range_medians(Ordered(values), start[i : i + 9], end[i : i + 9]) for i in range(0, 300, 9)]
    assert np.array_equal(np.concatenate(few), many, equal_nan=True)


def test_medians_of_what_is_hardly_a_number() -> None:
    huge, tiny = np.finfo(float).max, 5e-324
    values = np.array([huge, huge, tiny, tiny, math.inf, -math.inf, 1.0, math.nan, 2.0])
    low, high = np.array([0, 2, 4, 6, 6, 8, 4]), np.array([2, 4, 5, 7, 8, 9, 6])
    found = range_medians(Ordered(values), low, high).tolist()
    assert found[:4] == [huge, tiny, math.inf, 1.0]
    assert math.isnan(found[4])
    assert found[5] == 2.0
    assert math.isnan(found[6])  # between minus and plus infinity


def nearest(values: list[float], q: float) -> float:
    return sorted(values)[math.floor(round(q * (len(values) - 1), 6))]


@pytest.mark.parametrize("error", [0.1, 0.01, 1e-6])
@pytest.mark.parametrize("q", [0, 0.05, 0.29, 0.5, 0.95, 1])
def test_quantiles_are_within_the_error_and_exact_in_small_windows(q: float, error: float) -> None:
    values = random.normal(size=SIZE) * 10.0 ** random.integers(-9, 9, SIZE)
    values[random.integers(0, SIZE, 300)] = 0.0
    found = range_quantiles(Ordered(values), start, end, q, error, 100)
    apart = 0
    for answer, a, b in zip(found, start, end, strict=True):
        if a == b:
            assert math.isnan(answer)
            continue
        exact = nearest(values[a:b].tolist(), q)
        assert abs(answer - exact) <= error * abs(exact) * (1 + 1e-9)
        assert answer == exact or b - a > 100
        apart += bool(answer != exact)
    assert apart  # large windows are approximated


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=30), st.sampled_from([0.3, 0.01, 1e-6]))
def test_buckets_keep_the_order_and_stand_for_their_values(values: list[float], error: float) -> None:
    array = np.sort(np.array(values))
    numbers = buckets(array, error)
    assert (np.diff(numbers) >= 0).all()
    stand = bucket_values(numbers, error)
    same = stand == array
    with np.errstate(over="ignore", invalid="ignore"):
        near = np.abs(stand - array) <= error * np.abs(array) * (1 + 1e-6) + 5e-324
    assert (same | near).all()


def test_counts_of_buckets_of_parts_add_up() -> None:
    values = random.lognormal(3, 2, 1000)
    parts = [Counter(buckets(part, 0.01).tolist()) for part in np.split(values, [10, 400, 990])]
    merged = sum(parts, Counter[int]())
    ascending = np.array(sorted(merged.elements()))
    for q in (0.0, 0.5, 0.99):
        rank = math.floor(q * 999 + 1e-9)
        from_parts = bucket_values(ascending[[rank]], 0.01).item()
        assert range_quantiles(Ordered(values), np.array([0]), np.array([1000]), q, 0.01, 0).item() == from_parts
