"""Long ranges, where the doubling has many levels, against NumPy slices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tidemill.features.kernel import ranges
from tidemill.features.kernel.timeline import AFTER_ALL, BEFORE_ALL, shifted

SIZE, ASKED = 5000, 400
random = np.random.default_rng(7)
start, end = np.sort(random.integers(0, SIZE + 1, (2, ASKED)), axis=0)
start[:50] = end[:50]  # empty ones
start[50:60], end[50:60] = 0, SIZE
start[60:90], end[60:90] = np.arange(30), np.arange(30) + 2 ** np.arange(30).clip(0, 12)
FULL = [(a, b) for a, b in zip(start, end, strict=True) if a < b]


def each(values: np.ndarray[Any, Any], answer: Callable[[Any], Any]) -> list[Any]:
    return [answer(values[a:b]) for a, b in zip(start, end, strict=True)]


def test_sums_of_floats_are_right_to_the_last_digit() -> None:
    values = random.normal(size=SIZE) * 10.0 ** random.integers(-8, 12, SIZE)
    assert ranges.range_sums(values, start, end).tolist() == each(values, math.fsum)


def test_sums_of_integers() -> None:
    values = random.integers(-(2**52), 2**52, SIZE)
    sums, wrapped = ranges.range_int_sums(values, start, end)
    assert sums.tolist() == each(values, lambda part: sum(part.tolist()))
    assert not wrapped.any()
    sums, wrapped = ranges.range_int_sums(np.full(SIZE, 2**60), start, end)
    assert wrapped.tolist() == [b - a >= 8 for a, b in zip(start, end, strict=True)]


def test_spreads() -> None:
    values = 1e6 + random.normal(size=SIZE)
    count, squares = ranges.range_spreads(values, start, end)
    assert count.tolist() == (end - start).tolist()
    for found, (a, b) in zip(squares[start < end], FULL, strict=True):
        exact = np.var(values[a:b].astype(np.longdouble)) * (b - a)
        assert found == pytest.approx(float(exact), rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("half_life", [300, 10**6, 10**12])
def test_decayed_means(half_life: int) -> None:
    values = random.normal(size=SIZE) + 3
    event = 1_700_000_000_000_000 + np.cumsum(random.integers(0, 2000, SIZE))
    found = ranges.range_decayed_means(values, event, half_life, start, end)
    few = [
        ranges.range_decayed_means(values, event, half_life, start[i : i + 50], end[i : i + 50])
        for i in range(0, 400, 50)
    ]
    assert np.concatenate(few) == pytest.approx(found, rel=1e-12)
    for answer, a, b in zip(found, start, end, strict=True):
        weights = [2.0 ** -((int(event[b - 1]) - int(e)) / half_life) for e in event[a:b]]
        if weights:
            expected = math.fsum(w * v for w, v in zip(weights, values[a:b], strict=True)) / math.fsum(weights)
            assert answer == pytest.approx(expected, rel=1e-12)
    assert ranges.range_decayed_means(np.full(SIZE, 100.1), event, half_life, start, end)[start < end].tolist() == [
        100.1
    ] * len(FULL)


@pytest.mark.parametrize("questions", [1, ranges.FEW + 1])
def test_a_huge_value_fades(questions: int) -> None:
    values, event = np.array([1e16] + [1.0] * 6), np.arange(7) * 10
    low, high = np.zeros(questions, np.int64), np.full(questions, 7)
    found = ranges.range_decayed_means(values, event, 1, low, high)
    exact = math.fsum(v * 2.0 ** (e - 60) for v, e in zip(values, event, strict=True))
    assert found == pytest.approx(exact / math.fsum(2.0 ** (e - 60) for e in event), rel=1e-12)


@pytest.mark.parametrize("largest", [False, True])
def test_extremes(largest: bool) -> None:
    for values in (random.normal(size=SIZE), random.integers(-99, 99, SIZE)):
        found = ranges.range_extremes(values, start, end, largest=largest)[start < end]
        assert found.tolist() == [(max if largest else min)(values[a:b].tolist()) for a, b in FULL]


@pytest.mark.parametrize("different", [1, 3, 100, 100_000])
def test_different_values(different: int) -> None:
    codes = random.integers(0, different, SIZE)
    assert ranges.range_distinct(codes, start, end).tolist() == each(codes, lambda part: len(set(part.tolist())))


@pytest.mark.parametrize("spread", [3, 1000, 10**9])
def test_the_last_value_that_is_small_enough(spread: int) -> None:
    values = random.integers(0, spread, SIZE)
    bound = random.integers(-1, max(2, spread // 100), ASKED)
    expected = [
        max((i for i in range(a, b) if values[i] <= t), default=-1) for a, b, t in zip(start, end, bound, strict=True)
    ]
    assert ranges.rightmost_at_most(values, start, end, bound).tolist() == expected


def test_nothing_at_all() -> None:
    none = np.zeros(0)
    at = np.zeros(2, np.int64)
    assert ranges.range_sums(none, at, at).tolist() == [0.0, 0.0]
    assert ranges.range_distinct(none.astype(np.int64), at, at).tolist() == [0, 0]
    assert ranges.rightmost_at_most(none.astype(np.int64), at, at, at).tolist() == [-1, -1]


def test_times_stop_at_the_ends_of_the_range() -> None:
    t = np.array([BEFORE_ALL, 0, AFTER_ALL])
    assert shifted(t, -5).tolist() == [BEFORE_ALL, -5, AFTER_ALL - 5]
    assert shifted(t, 5).tolist() == [BEFORE_ALL + 5, 5, AFTER_ALL]
    assert shifted(t, -(2**70)).tolist() == [BEFORE_ALL] * 3
    assert shifted(t, 2**70).tolist() == [AFTER_ALL] * 3
