from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tidemill.measures import bins, compat, samples
from tidemill.measures.thresholds import chunk_threshold

numbers = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=25)
anything = st.lists(st.one_of(st.none(), st.floats()), max_size=10)


@given(numbers, numbers)
def test_ks_by_definition_with_ties(a: list[float], b: list[float]) -> None:
    slow = max(abs(sum(v <= x for v in a) / len(a) - sum(v <= x for v in b) / len(b)) for x in a + b)
    assert samples.ks_d(a, b) == pytest.approx(slow, abs=1e-12)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 30))
def test_exact_p_like_scipy(n: int, m: int, shift: int) -> None:
    a, b = np.arange(n) * 1.0, np.arange(m) * 0.9 + shift + 0.05
    found = samples.ks_fraction(a, b)
    assert found is not None
    known = stats.ks_2samp(a, b, method="exact")
    assert samples.ks_p(found, n, m) == pytest.approx(known.pvalue, rel=1e-7, abs=1e-12)
    assert samples.ks_p(float(found), n, m) == pytest.approx(known.pvalue, rel=1e-7, abs=1e-12)


def test_large_samples_use_the_approximation() -> None:
    exact, rough = samples.ks_p(0.05, 2000, 2000), samples.ks_p(0.05, 2001, 2000)
    assert exact is not None
    assert rough is not None
    assert rough == pytest.approx(exact, rel=0.05)


@given(numbers, numbers)
def test_wasserstein_like_scipy(a: list[float], b: list[float]) -> None:
    assert samples.wasserstein(a, b) == pytest.approx(stats.wasserstein_distance(a, b), abs=1e-9)


@given(anything, anything)
def test_whatever_comes_answers_are_finite_or_none(a: list[float], b: list[float]) -> None:
    functions = [
        samples.ks_d, samples.wasserstein, samples.wasserstein_scaled, compat.wasserstein_evidently,
    ]  # fmt: skip
    for function in functions:
        found = function(a, b)
        assert found is None or math.isfinite(found)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60))
def test_decile_edges_are_linear_quantiles(values: list[float]) -> None:
    known = np.unique(np.quantile(values, np.arange(1, 10) / 10))
    for edge in bins.decile_edges(values):
        assert np.isclose(known, edge, rtol=1e-9, atol=1e-9).any()


@given(st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=40), numbers)
def test_cells_are_open_below_and_closed_above(ref: list[float], values: list[float]) -> None:
    edges = bins.decile_edges(ref).tolist()
    bounds = [-math.inf, *edges, math.inf]
    slow = [sum(low < v <= high for v in values) for low, high in itertools.pairwise(bounds)]
    assert bins.count_cells(values, edges).tolist() == slow


def test_edges_of_nothing_and_of_a_constant() -> None:
    assert bins.decile_edges([]).tolist() == []
    assert bins.decile_edges([3.0] * 9).tolist() == [3.0]
    assert bins.count_cells([3.0, 4.0], [3.0]).tolist() == [1, 1]
    assert bins.decile_edges([-1e308, 1e308]).size == 9


def test_an_edge_on_a_value_is_that_value() -> None:
    values = [0.1 * k for k in range(11)]
    assert bins.decile_edges(values).tolist() == values[1:10]


def test_small_pieces() -> None:
    assert samples.ks_fraction([], [1.0]) is None
    assert samples.ks_p(0.5, 0, 3) is None
    assert samples.ks_p(Fraction(0), 3, 3) == 1.0
    assert bins.equal_width_edges([], "sturges").size == 0
    assert bins.count_between([1.0], np.empty(0)).size == 0
    assert chunk_threshold([]).exceeded(1.0) is False
    assert chunk_threshold([0.5, 0.5], 3, 0.0, 1.0).exceeded(0.4)
