"""Modes and HyperLogLog."""

from __future__ import annotations

import math
from collections import Counter
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from tidemill.features.kernel.pairs import hashed, pair_batches, range_estimates, range_modes, registers

random = np.random.default_rng(5)


@pytest.mark.parametrize("at_once", [1, 7, 10**6])
def test_pairs_are_all_there_in_order(at_once: int) -> None:
    start, end = np.array([0, 3, 3, 2, 9]), np.array([4, 3, 9, 5, 10])
    found = [
        (pairs.ranges.start + owner, position)
        for pairs in pair_batches(start, end, at_once)
        for owner, position in zip(pairs.owner.tolist(), pairs.position.tolist(), strict=True)
    ]
    expected = [(i, p) for i, (a, b) in enumerate(zip(start, end, strict=True)) for p in range(a, b)]
    assert found == expected


@pytest.mark.parametrize("different", [1, 3, 200])
def test_modes(different: int) -> None:
    codes = random.integers(0, different, 2000)
    start, end = np.sort(random.integers(0, 2001, (2, 200)), axis=0)
    start[:9] = end[:9]
    for found, a, b in zip(range_modes(codes, start, end).tolist(), start, end, strict=True):
        part = codes[a:b].tolist()
        if not part:
            assert found == -1
            continue
        best = max(Counter(part).values())
        assert found == max(a + i for i, code in enumerate(part) if part.count(code) == best)


def test_equal_values_have_equal_hashes_and_others_have_not() -> None:
    days = [date(2024, 1, 1) + timedelta(days=i) for i in range(500)]
    for values in (pl.Series(range(-500, 500)), pl.Series([f"v{i}" for i in range(1000)]), pl.Series(days),
                   pl.Series(np.linspace(-1, 1, 999))):  # fmt: skip
        hashes = hashed(values)
        assert len(set(hashes.tolist())) == len(values)
        assert hashed(values.reverse())[::-1].tolist() == hashes.tolist()
    zeros = hashed(pl.Series([0.0, -0.0, math.nan, -math.nan]))
    assert zeros[0] == zeros[1]
    assert zeros[2] == zeros[3]
    assert hashed(pl.Series([True, False])).tolist() == hashed(pl.Series([1, 0])).tolist()
    # The same in every process and version, or answers would jump.
    assert hashed(pl.Series([0, 1])).tolist() == [16294208416658607535, 10451216379200822465]
    assert hashed(pl.Series(["a"])).tolist() == [int.from_bytes(bytes.fromhex("40f89e395b66422f"), "little")]


def test_the_standard_error_of_counts_is_what_theory_says() -> None:
    precision, repeats = 8, 300
    for different in (10, 300, 5000):
        values = pl.Series(random.integers(-(2**62), 2**62, different * repeats))
        start = np.arange(repeats) * different
        found = range_estimates(hashed(values), start, start + different, precision)
        error = (found - different) / different
        theory = 1.04 / math.sqrt(2**precision)
        if different > 100:  # counts are whole numbers
            assert abs(error.mean()) < 4 * theory / math.sqrt(repeats)  # no bias to speak of
        assert math.sqrt((error**2).mean()) < 1.15 * theory


def test_counts_without_error_where_registers_are_many() -> None:
    values = pl.Series([5, 5, 7, 5, 9, 7])
    start, end = np.array([0, 0, 2, 3]), np.array([0, 2, 6, 4])
    assert range_estimates(hashed(values), start, end, 14).tolist() == [0, 1, 3, 1]


@pytest.mark.parametrize("precision", [4, 11, 16])
def test_registers_of_parts_merge(precision: int) -> None:
    hashes = hashed(pl.Series(random.integers(0, 10**9, 2000)))

    def maxima(part: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        table = np.zeros(1 << precision, np.int64)
        np.maximum.at(table, *registers(part, precision))
        return table

    merged = np.maximum.reduce([maxima(part) for part in np.split(hashes, [1, 700, 1500])])
    assert merged.tolist() == maxima(hashes).tolist()
    shuffled = random.permutation(np.concatenate([hashes, hashes[:500]]))
    at = (np.array([0]), np.array([2000])), (np.array([0]), np.array([2500]))
    assert range_estimates(hashes, *at[0], precision) == range_estimates(shuffled, *at[1], precision)


def test_ranks_are_the_place_of_the_first_one() -> None:
    for shift in range(64):
        register, rank = registers(np.array([1 << shift], np.uint64), 4)
        assert register.item() == (1 << shift) >> 60
        assert rank.item() == (60 - shift if shift < 60 else 61)
    assert registers(np.array([2**64 - 1], np.uint64), 4)[1].item() == 1
